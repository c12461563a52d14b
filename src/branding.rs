//! What the pages of connect links show of the product that sends people there: a name, a logo and a colour.
//!
//! Owns that text on the colour can be read. Refuses to replace who asks: the pages name the workspace and the
//! installation beside it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The contrast that text needs at least (WCAG 2.2, 1.4.3).
pub const LEAST_CONTRAST: f64 = 4.5;

/// What was set. Each part may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Branding {
    /// The product's name.
    #[serde(default)]
    pub name: Option<String>,
    /// The address of its logo.
    #[serde(default)]
    #[cfg_attr(test, schemars(url))]
    pub logo_url: Option<String>,
    /// Its colour: that of the main button.
    #[serde(default)]
    pub accent: Option<Accent>,
}

impl Branding {
    /// Whether nothing was set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A colour: red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Accent(u8, u8, u8);

#[cfg(test)]
impl schemars::JsonSchema for Accent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Accent".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A colour, `#rrggbb`.", "type": "string", "pattern": "^#[0-9a-fA-F]{6}$", "examples": ["#0a50b0"],
        })
    }
}

impl fmt::Display for Accent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(red, green, blue) = self;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl From<Accent> for String {
    fn from(accent: Accent) -> Self {
        accent.to_string()
    }
}

impl TryFrom<String> for Accent {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        Self::parse(&text).ok_or("expected a colour such as #0a50b0")
    }
}

impl Accent {
    /// White.
    pub const WHITE: Self = Self(255, 255, 255);
    /// Black.
    pub const BLACK: Self = Self(0, 0, 0);

    /// A colour by its parts.
    pub fn new(red: u8, green: u8, blue: u8) -> Self {
        Self(red, green, blue)
    }

    /// Reads `#rrggbb`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#')?;
        if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let part = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        Some(Self(part(0)?, part(2)?, part(4)?))
    }

    /// The colour of text on this one: white or black, whichever can be read better. One of the two always has the contrast
    /// that is needed.
    #[must_use]
    pub fn text_colour(self) -> Self {
        if self.contrast(Self::WHITE) >= self.contrast(Self::BLACK) { Self::WHITE } else { Self::BLACK }
    }

    /// The contrast of two colours, from 1 to 21 (WCAG 2.2, "contrast ratio").
    pub fn contrast(self, other: Self) -> f64 {
        let (one, other) = (self.luminance(), other.luminance());
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// The relative luminance (WCAG 2.2).
    fn luminance(self) -> f64 {
        let linear = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        let Self(red, green, blue) = self;
        0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_on_every_colour_can_be_read() {
        let parts = || (0..=255_u8).step_by(5);
        let mut least = f64::MAX;
        for (red, green) in parts().flat_map(|red| parts().map(move |green| (red, green))) {
            for blue in parts() {
                let colour = Accent::new(red, green, blue);
                least = least.min(colour.contrast(colour.text_colour()));
            }
        }
        assert!(least >= LEAST_CONTRAST, "{least}");
        // The worst of all greys is between the two.
        let greys = (0..=255).map(|part| Accent::new(part, part, part));
        let worst = greys.map(|grey| grey.contrast(grey.text_colour())).fold(f64::MAX, f64::min);
        assert!((LEAST_CONTRAST..4.7).contains(&worst), "{worst}");
    }

    #[test]
    fn contrasts_are_those_of_the_definition() {
        let contrast = |one: &str, other: &str| Accent::parse(one).unwrap().contrast(Accent::parse(other).unwrap());
        for (one, other, expected) in [
            ("#000000", "#ffffff", 21.0),
            ("#777777", "#ffffff", 4.48),
            ("#767676", "#ffffff", 4.54),
            ("#0000ff", "#ffffff", 8.59),
            ("#ff0000", "#000000", 5.25),
        ] {
            assert!((contrast(one, other) - expected).abs() < 0.01, "{one} {other}: {}", contrast(one, other));
            assert!((contrast(other, one) - expected).abs() < 0.01);
        }
        assert_eq!(Accent::parse("#FFE000").unwrap().text_colour(), Accent::BLACK);
        assert_eq!(Accent::parse("#0a50b0").unwrap().text_colour(), Accent::WHITE);
    }

    #[test]
    fn a_colour_is_six_digits() {
        assert_eq!(Accent::parse("#0A50b0").unwrap().to_string(), "#0a50b0");
        for wrong in
            ["", "#", "0a50b0", "#0a50b", "#0a50b00", "#0a50bg", "#+a50b0", "# a50b0", "red", "#0a50b0;", "#ÿ0000"]
        {
            assert_eq!(Accent::parse(wrong), None, "{wrong}");
        }
    }
}
