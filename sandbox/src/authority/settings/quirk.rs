//! Where an authority does otherwise than it usually does: for whom, and how often.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

/// One thing that is done otherwise. Clones count together.
#[derive(Debug, Clone)]
pub struct Quirk<T> {
    what: T,
    name: Option<String>,
    left: Option<Arc<AtomicU32>>,
}

impl<T: Clone> Quirk<T> {
    /// For every name, until it is taken out of the settings.
    pub fn new(what: T) -> Self {
        Self { what, name: None, left: None }
    }

    /// Only for what has this name among its names.
    pub fn of(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Only the first so many times.
    pub fn times(mut self, times: u32) -> Self {
        self.left = Some(Arc::new(AtomicU32::new(times)));
        self
    }

    /// The first one that fits and is not used up; it is used once more by this.
    pub(in crate::authority) fn first(
        quirks: &[Self],
        names: &[String],
        fits: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let found = quirks
            .iter()
            .find(|quirk| quirk.is_about(names) && fits(&quirk.what) && quirk.is_left())?;
        Some(found.what.clone())
    }

    fn is_about(&self, names: &[String]) -> bool {
        self.name.as_ref().is_none_or(|name| names.contains(name))
    }

    /// Uses it once.
    fn is_left(&self) -> bool {
        let Some(left) = &self.left else {
            return true;
        };
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quirk_is_for_its_name_and_used_up() {
        let quirks = [Quirk::new(1).of("a.example").times(2), Quirk::new(2).of("b.example")];
        let first = |name: &str| Quirk::first(&quirks, &[name.to_owned()], |_| true);
        assert_eq!(
            ["a.example", "b.example", "a.example", "a.example", "c.example"].map(first),
            [Some(1), Some(2), Some(1), None, None]
        );
        let names = ["b.example".to_owned()];
        assert_eq!(Quirk::first(&quirks, &names, |what| *what != 2), None);
    }
}
