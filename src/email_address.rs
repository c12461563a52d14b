//! An e-mail address, and nothing else.
//!
//! Owns which texts are one: what a mail program could read as several addresses, as a name with an address, or as a header of
//! its own is refused. Whether somebody reads what is sent there, nobody knows.

use std::fmt;

/// Characters, at most (RFC 5321 4.5.3.1.3, without the brackets).
const MAX_LENGTH: usize = 254;

/// An address that e-mail can be sent to. It is about a person, so it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Reads an address. Surrounding spaces are removed.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (local, domain) = text.rsplit_once('@')?;
        let has_dot_inside =
            domain.trim_matches('.').contains('.') && !domain.starts_with('.') && !domain.ends_with('.');
        let is_address = text.len() <= MAX_LENGTH && is_plain(local) && is_plain(domain) && has_dot_inside;
        is_address.then(|| Self(text.to_owned()))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Visible ASCII without what has a meaning in headers (RFC 5322 3.2.3).
fn is_plain(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>()[],;:\\\"@".contains(&byte))
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::EmailAddress;

    #[test]
    fn an_address_is_one_address_and_nothing_else() {
        for text in ["ada@example.com", " a.b+c@mail.example.com ", "o'hara@example.com"] {
            assert_eq!(EmailAddress::parse(text).unwrap().as_str(), text.trim());
        }
        let long = format!("{}@example.com", "a".repeat(254));
        for text in [
            "",
            "ada",
            "ada@",
            "@example.com",
            "ada@example",
            "ada@example.",
            "ada@.example",
            "Ada <ada@example.com>",
            "a@b.example,c@d.example",
            "a@b.example;c@d.example",
            "a b@c.example",
            "a@b.example\r\nBcc: x@y.example",
            "a@b@c.example",
            "\"a\"@c.example",
            "ä@example.com",
            &long,
        ] {
            assert_eq!(EmailAddress::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn debug_output_shows_no_address() {
        assert_eq!(format!("{:?}", EmailAddress::parse("ada@example.com").unwrap()), "EmailAddress(…)");
    }
}
