//! The limits of an authority in figures.

use crate::view::page::words;
use crate::view::status::authority::Budget;

/// How much of a limit is used, in percent.
pub(super) fn part_used(budget: &Budget) -> u64 {
    (u64::from(budget.used) * 100 / u64::from(budget.limit.max(1))).min(100)
}

/// In which time all of it comes back.
pub(super) fn window(budget: &Budget) -> String {
    words::window(budget.window_seconds)
}

/// Where an authority is, shortly.
pub(super) fn host(directory: &str) -> &str {
    let rest = directory.split_once("://").map_or(directory, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_called_by_its_host() {
        let table = [
            ("https://acme-v02.api.letsencrypt.org/directory", "acme-v02.api.letsencrypt.org"),
            ("https://127.0.0.1:14000/dir", "127.0.0.1:14000"),
            ("nonsense", "nonsense"),
            ("", ""),
        ];
        for (directory, name) in table {
            assert_eq!(host(directory), name);
        }
    }
}
