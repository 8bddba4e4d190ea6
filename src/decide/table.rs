//! The decision: two small enums and one table. No clock, no input, no output.
//!
//! [`crate::decide::classify`] turns facts into [`OnDisk`] and [`AtDestination`]; [`decide`] looks the pair up. The table in
//! `README.md` is [`render`]ed from here and held equal by a test.

use std::fmt;

/// The copy in the store, the first that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDisk {
    /// It could not be read, and its dates are not on record, or it is not overdue by them.
    Unknown,
    /// It is on record and certainly gone, while Rancher holds a copy of ours that is not overdue.
    Lost,
    /// It is not there, or was read whole and is broken.
    Missing,
    /// Half of the time to renew it is over, whether or not it can be read.
    Overdue,
    /// It is a staging one when production is wanted, or lacks a wanted name.
    Unfit,
    /// It is to be renewed.
    Due,
    /// It is as it should be.
    Fresh,
}

/// The copy at the destination, the first that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtDestination {
    /// There is no whole, trusted list.
    Unknown,
    /// It is what would be pushed: the leaf on disk and the chain behind it.
    Same,
    /// It is ours, fresh, and better than the one on disk.
    Newer,
    /// There is nothing, or something that may be replaced.
    Replaceable,
    /// It is somebody else's.
    Foreign,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing: all is well.
    Keep,
    /// Put the copy on disk into Rancher.
    Push,
    /// Get a certificate, store it, push it.
    Issue,
    /// The same, because the present one is due.
    Renew,
    /// Take certificate and key back from Rancher.
    Restore,
    /// Nothing: it is not ours to touch.
    Leave,
    /// Nothing: something could not be told, or is not yet allowed.
    Wait,
}

impl Action {
    /// Every one.
    pub const ALL: [Self; 7] =
        [Self::Keep, Self::Push, Self::Issue, Self::Renew, Self::Restore, Self::Leave, Self::Wait];
}

impl OnDisk {
    /// The rows of the table, top to bottom.
    pub const ROWS: [Self; 7] = [
        Self::Unknown,
        Self::Lost,
        Self::Missing,
        Self::Overdue,
        Self::Unfit,
        Self::Due,
        Self::Fresh,
    ];
}

impl AtDestination {
    /// The columns of the table, left to right.
    pub const COLUMNS: [Self; 5] =
        [Self::Unknown, Self::Replaceable, Self::Same, Self::Newer, Self::Foreign];
}

/// Looks the pair up. "I could not tell" is never "it is not there": `Unknown` on either side waits, unless a certificate
/// would expire by that.
pub fn decide(on_disk: OnDisk, at_rancher: AtDestination) -> Action {
    use Action::Issue;
    use Action::Keep;
    use Action::Leave;
    use Action::Push;
    use Action::Renew;
    use Action::Restore;
    use Action::Wait;
    match (on_disk, at_rancher) {
        (OnDisk::Unknown, _) => Wait,
        (OnDisk::Overdue, AtDestination::Unknown) => Renew,
        (_, AtDestination::Unknown) => Wait,
        (_, AtDestination::Foreign) => Leave,
        (_, AtDestination::Newer) => Restore,
        (OnDisk::Lost, AtDestination::Replaceable) => Wait,
        // Cannot be: `Same` compares with a leaf on disk.
        (OnDisk::Lost | OnDisk::Missing, AtDestination::Same) => Wait,
        (OnDisk::Missing, AtDestination::Replaceable)
        | (OnDisk::Unfit, AtDestination::Replaceable | AtDestination::Same) => Issue,
        (OnDisk::Overdue | OnDisk::Due, AtDestination::Replaceable | AtDestination::Same) => Renew,
        (OnDisk::Fresh, AtDestination::Replaceable) => Push,
        (OnDisk::Fresh, AtDestination::Same) => Keep,
    }
}

/// Whether facts can lead to this pair at all.
pub fn is_possible(on_disk: OnDisk, at_rancher: AtDestination) -> bool {
    at_rancher != AtDestination::Same
        || !matches!(on_disk, OnDisk::Unknown | OnDisk::Lost | OnDisk::Missing)
}

/// The table as it stands in `README.md`.
pub fn render() -> String {
    let cell = |row, column| {
        if is_possible(row, column) { decide(row, column).to_string() } else { "-".to_owned() }
    };
    let mut table = String::from("| on disk \\ at Rancher |");
    AtDestination::COLUMNS.iter().for_each(|column| table += &format!(" {column:?} |"));
    table += "\n| --- |";
    AtDestination::COLUMNS.iter().for_each(|_| table += " --- |");
    table += "\n";
    for row in OnDisk::ROWS {
        table += &format!("| {row:?} |");
        AtDestination::COLUMNS
            .iter()
            .for_each(|column| table += &format!(" {} |", cell(row, *column)));
        table += "\n";
    }
    table
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_one_of_the_design() {
        let designed = "\
| on disk \\ at Rancher | Unknown | Replaceable | Same | Newer | Foreign |
| --- | --- | --- | --- | --- | --- |
| Unknown | Wait | Wait | - | Wait | Wait |
| Lost | Wait | Wait | - | Restore | Leave |
| Missing | Wait | Issue | - | Restore | Leave |
| Overdue | Renew | Renew | Renew | Restore | Leave |
| Unfit | Wait | Issue | Issue | Restore | Leave |
| Due | Wait | Renew | Renew | Restore | Leave |
| Fresh | Wait | Push | Keep | Restore | Leave |
";
        assert_eq!(render(), designed);
    }
}
