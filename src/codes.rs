//! Enumerations whose cases have a text: in the database, in JSON, in a form, or in an address.
//!
//! Owns that the list of the cases, their texts and the reader of a text cannot differ. A text that is stored or that programs
//! know never changes; the case may be renamed.

/// Defines an enumeration. Each case has its text behind it: `Done = "done",`.
macro_rules! codes {
    ($(#[$about:meta])* $seen:vis enum $name:ident { $($(#[$of:meta])* $case:ident = $text:literal,)+ }) => {
        $(#[$about])*
        $seen enum $name {
            $($(#[$of])* $case,)+
        }

        impl $name {
            /// All of them.
            $seen const ALL: [Self; [$($text),+].len()] = [$(Self::$case),+];

            /// Its text.
            $seen const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$case => $text,)+
                }
            }

            /// Reads the text.
            $seen fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$case),)+
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use codes;

#[cfg(test)]
mod tests {
    codes! {
        /// Two cases.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Side {
            /// The left one.
            Left = "left",
            /// The right one.
            Right = "on-the-right",
        }
    }

    #[test]
    fn a_text_is_read_as_the_case_that_has_it() {
        assert_eq!(Side::ALL.map(Side::as_str), ["left", "on-the-right"]);
        for side in Side::ALL {
            assert_eq!(Side::parse(side.as_str()), Some(side));
        }
        assert_eq!(Side::parse("Left"), None);
    }
}
