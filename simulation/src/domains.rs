//! Names: who wants them, and where they lead.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use rancher_lets_encrypt::core::held::Announcement;
use rancher_lets_encrypt::core::names::Names;
use time::OffsetDateTime;

/// Where requests to a name end up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Route {
    /// At our webroots.
    #[default]
    Well,
    /// Nowhere, for everybody.
    Broken,
    /// At something that takes every connection and says nothing.
    Silent,
    /// At our webroots from inside, nowhere for the authority.
    BrokenOutside,
}

/// A name, and since when it is as it is.
#[derive(Debug, Clone, Copy)]
pub struct Lead {
    /// Where it leads.
    pub route: Route,
    /// Since when.
    pub since: OffsetDateTime,
}

/// A certificate that people want.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What it is for.
    pub names: Names,
    /// Whether it stands in `DOMAINS`, else in a label.
    pub is_fixed: bool,
    /// Since when it is wanted in this form.
    pub since: OffsetDateTime,
}

/// Everything about names.
#[derive(Debug, Default)]
pub struct Domains {
    /// What is wanted, by number; a label's number is its service.
    pub wishes: BTreeMap<u32, Wanted>,
    /// Services that ever had a label. They stay without it.
    labelled: BTreeSet<u32>,
    /// Names that do not lead where they should, or did not once.
    pub leads: BTreeMap<String, Lead>,
    /// Names for which no solver is there.
    pub unsolved: BTreeSet<String>,
    /// When the wish for a name changed last.
    pub changed: BTreeMap<String, OffsetDateTime>,
    /// Goes up with each change of labels.
    pub labels_version: u64,
}

impl Domains {
    /// Where a name leads.
    pub fn route(&self, name: &str) -> Route {
        self.leads.get(name).map_or(Route::Well, |lead| lead.route)
    }

    /// Changes where a name leads.
    pub fn lead(&mut self, name: &str, route: Route, now: OffsetDateTime) {
        self.leads.insert(name.to_owned(), Lead { route, since: now });
    }

    /// Wants a certificate, or no longer wants it.
    pub fn wish(&mut self, number: u32, wish: Option<Wanted>, now: OffsetDateTime) {
        let before = match wish {
            Some(wish) => {
                self.touch(&wish, now);
                if !wish.is_fixed {
                    self.labelled.insert(number);
                }
                self.wishes.insert(number, wish)
            }
            None => self.wishes.remove(&number),
        };
        if let Some(before) = before {
            self.touch(&before, now);
        }
        self.labels_version += 1;
    }

    fn touch(&mut self, wish: &Wanted, now: OffsetDateTime) {
        let names = wish.names.iter().map(ToString::to_string);
        self.changed.extend(names.map(|name| (name, now)));
    }

    /// What labels announce.
    pub fn announcements(&self) -> Vec<Announcement> {
        let label = |number| {
            let wish = self.wishes.get(number).filter(|wish| !wish.is_fixed);
            wish.map(|wish| wish.names.to_string()).unwrap_or_default()
        };
        let announcement = |number| Announcement {
            uuid: format!("service-{number}"),
            service: format!("web/service-{number}"),
            label: label(number),
        };
        self.labelled.iter().map(announcement).collect()
    }

    /// What stands in `DOMAINS`.
    pub fn domains(&self) -> Vec<Names> {
        let fixed = self.wishes.values().filter(|wish| wish.is_fixed);
        fixed.map(|wish| wish.names.clone()).collect()
    }
}
