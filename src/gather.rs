//! Collects into maps and sets that keep an order.
//!
//! Owns the one way to do so: what comes is inserted one by one. The standard library's `collect` sorts it first, by an
//! algorithm that is compiled for each type and each place, and that took a twentieth of the program.

use std::collections::{BTreeMap, BTreeSet};

/// A map or a set that keeps an order.
pub trait Ordered<T>: Default + Extend<T> {}

impl<K: Ord, V> Ordered<(K, V)> for BTreeMap<K, V> {}
impl<T: Ord> Ordered<T> for BTreeSet<T> {}
impl Ordered<(String, serde_json::Value)> for serde_json::Map<String, serde_json::Value> {}

/// What `collect` does, for [`Ordered`].
pub trait Gather: Iterator + Sized {
    /// Inserts each item. Of two with the same key the later one stays.
    fn gather<C: Ordered<Self::Item>>(self) -> C {
        let mut all = C::default();
        all.extend(self);
        all
    }

    /// The same, up to the first error.
    ///
    /// # Errors
    /// That of the first item that is one.
    fn try_gather<C: Ordered<T>, T, E>(self) -> Result<C, E>
    where
        Self: Iterator<Item = Result<T, E>>,
    {
        let mut all = C::default();
        for item in self {
            all.extend([item?]);
        }
        Ok(all)
    }

    /// The same, up to the first that is missing.
    fn gather_some<C: Ordered<T>, T>(self) -> Option<C>
    where
        Self: Iterator<Item = Option<T>>,
    {
        let mut all = C::default();
        for item in self {
            all.extend([item?]);
        }
        Some(all)
    }
}

impl<I: Iterator> Gather for I {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_what_collect_collects() {
        let pairs = [("b", 1), ("a", 2), ("b", 3)];
        assert_eq!(pairs.into_iter().gather::<BTreeMap<_, _>>(), pairs.into_iter().collect());
        assert_eq!([3, 1, 3].into_iter().gather::<BTreeSet<_>>(), BTreeSet::from([1, 3]));
        let results = |last| [Ok(("a", 1)), Err("first"), last];
        assert_eq!(results(Ok(("b", 2))).into_iter().try_gather::<BTreeMap<_, _>, _, _>(), Err("first"));
        assert_eq!([Some(1), Some(2)].into_iter().gather_some::<BTreeSet<_>, _>(), Some(BTreeSet::from([1, 2])));
        assert_eq!([Some(1), None].into_iter().gather_some::<BTreeSet<_>, _>(), None);
    }
}
