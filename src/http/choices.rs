//! The names of a list from which a person chooses.
//!
//! Owns that no two of them look alike: names are given by people and by apps, and one may be that of another thing, by chance
//! or to be chosen in its place. Those that look alike have their ids beside them.

use std::collections::BTreeMap;

use crate::catalogue::name_shape;

/// Ids and names of things, with names that a person can tell apart.
pub(in crate::http) fn tell_apart(choices: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let choices: Vec<_> = choices.into_iter().collect();
    let mut shapes: BTreeMap<String, usize> = BTreeMap::new();
    for (_, name) in &choices {
        *shapes.entry(name_shape(name)).or_default() += 1;
    }
    let is_alone = |name: &str| shapes.get(&name_shape(name)).is_none_or(|number| *number < 2);
    let shown = |(id, name): (String, String)| {
        let name = if is_alone(&name) || name == id { name } else { format!("{name} · {id}") };
        (id, name)
    };
    choices.into_iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_have_their_ids() {
        let choices = [
            ("con_1", "Payments"),
            ("con_2", "Payments\u{200b}"),
            ("con_3", "P\u{430}yments"),
            ("con_4", "payments "),
            ("con_5", "Payments EU"),
            ("ann", "ann"),
            ("eve", "Ann"),
        ];
        let shown = tell_apart(choices.map(|(id, name)| (id.to_owned(), name.to_owned())));
        let names: Vec<_> = shown.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "Payments · con_1",
                "Payments\u{200b} · con_2",
                "P\u{430}yments · con_3",
                "payments  · con_4",
                "Payments EU",
                "ann",
                "Ann · eve"
            ]
        );
    }
}
