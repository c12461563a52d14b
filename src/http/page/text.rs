//! The words of the pages: one catalogue for each language.
//!
//! Owns how a text is looked up and filled: `{name}` stands for a value, which is already escaped. A language is a file
//! beside `en`; one that lacks a text does not compile.

mod en;

use maud::{Markup, PreEscaped, html};

pub use en::{ENGLISH, Texts};

pub use crate::fill::fill_plain;
use crate::fill::fill_with;

/// Makes the type of a catalogue, and the English one: `group { name = "Text with {value}."; }`.
macro_rules! texts {
    ($($(#[$about:meta])* $group:ident { $($name:ident = $text:literal;)* })*) => {
        $(
            $(#[$about])*
            pub(super) mod $group {
                /// The texts of this group.
                #[derive(Debug)]
                pub struct Texts {
                    $(#[doc = concat!("`", $text, "`")] pub $name: &'static str,)*
                }
            }
        )*

        /// The words of the pages in one language.
        #[derive(Debug)]
        pub struct Texts {
            /// The language, as the attribute `lang` has it (BCP 47).
            pub language: &'static str,
            $($(#[$about])* pub $group: $group::Texts,)*
        }

        /// English.
        pub static ENGLISH: Texts = Texts {
            language: "en",
            $($group: $group::Texts { $($name: $text,)* },)*
        };

        #[cfg(test)]
        pub(super) const ALL_ENGLISH: &[&str] = &[$($($text,)*)*];
    };
}
use texts;

/// A text with its values in place. A value that the text does not name is left out.
pub(super) fn fill(text: &str, values: &[(&str, Markup)]) -> Markup {
    PreEscaped(fill_with(
        text,
        |piece| html! { (piece) }.0,
        |name| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.0.as_str()),
    ))
}

/// The text for one, or for another number, with `{count}` in place.
pub fn count(number: i64, one: &str, other: &str) -> String {
    fill_plain(if number == 1 { one } else { other }, &[("count", &number.to_string())])
}

#[cfg(test)]
mod tests {
    use maud::html;

    use super::{count, en, fill, fill_plain};

    #[test]
    fn values_stand_where_the_text_names_them_and_are_not_read_again() {
        let name = html! { bdi { "<{app}>" } };
        assert_eq!(
            fill("{app}: \"{name}\" & {name}", &[("name", name), ("app", html! { "A" })]).0,
            "A: &quot;<bdi>&lt;{app}&gt;</bdi>&quot; &amp; <bdi>&lt;{app}&gt;</bdi>"
        );
        assert_eq!(fill_plain("{a}{b}", &[("a", "{b}"), ("b", "c")]), "{b}c");
        assert_eq!(fill_plain("no value } {", &[]), "no value } {");
    }

    #[test]
    fn one_is_not_counted_like_others() {
        assert_eq!([0, 1, 2].map(|n| count(n, "one step", "{count} steps")), ["0 steps", "one step", "2 steps"]);
    }

    #[test]
    fn every_text_closes_its_placeholders() {
        for text in en::ALL_ENGLISH {
            let names = text.matches('{').count();
            assert_eq!(names, text.matches('}').count(), "{text}");
            let plain = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(
                text.split('{').skip(1).all(|rest| rest.split_once('}').is_some_and(|(name, _)| plain(name))),
                "{text}"
            );
        }
    }
}
