//! What is wanted: the entries of `DOMAINS` and of the labels, merged into certificates.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Display;

use serde::Deserialize;
use serde::Serialize;

use crate::core::held::Announcement;
use crate::core::names::DomainName;
use crate::core::names::NameSet;
use crate::core::names::Names;
use crate::core::names::parse_list;

/// The label that announces names.
pub const LABEL: &str = "com.danieldent.rancher-lets-encrypt.hosts";

/// One wanted certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it covers.
    pub names: Names,
    /// Who wants it: `DOMAINS`, or `stack/service`.
    pub origins: BTreeSet<String>,
}

/// Who holds a primary name that labels announce, so that the next reading decides as this one did.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holder {
    /// Uuid of the service.
    pub uuid: String,
    /// `stack/service`: a sidekick has its primary service's uuid.
    pub service: String,
}

/// Holders by primary name.
pub type Holders = BTreeMap<DomainName, Holder>;

/// Everything that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The certificates, by primary name.
    pub entries: Vec<Entry>,
    /// Who holds which primary name now.
    pub holders: Holders,
    /// What was left out or moved, a sentence each.
    pub notices: BTreeSet<String>,
}

const DOMAINS: &str = "DOMAINS";

/// The longest label that is read, in bytes: more than 250 names of the greatest length. Labels are everybody's, and
/// whoever writes a megabyte into one must not fill log, page and store.
const LONGEST_LABEL: usize = 64 << 10;
/// How many bad names of one label, and names of it that others have, are told one by one.
const MOST_BAD: usize = 20;
/// The most names of one entry of a label: what a certificate of Let's Encrypt has.
const MOST_NAMES: usize = 100;
/// How many of several things one notice shows.
const MOST_SHOWN: usize = 5;

impl Wanted {
    /// Merges `DOMAINS` and the labels.
    ///
    /// `DOMAINS` wins a primary name, then its holder, then the lowest service uuid and within it the service name:
    /// lists of services change their order with every reload. Who loses a primary name keeps the others as a
    /// certificate of its own. No label adds names to, or takes names from, an entry of somebody else.
    pub fn merge(domains: &[Names], announcements: &[Announcement], holders: &Holders) -> Self {
        let mut wanted = Self::default();
        let mut places = Places::default();
        for names in domains {
            wanted.add_domains(names, &mut places);
        }
        wanted.drop_equal_sets();
        places = Places::default();
        for (place, entry) in wanted.entries.iter().enumerate() {
            let primary = entry.names.primary().clone();
            places.by_primary.insert(primary, place);
            places.by_set.insert(entry.names.set(), place);
        }
        let mut claims = wanted.claims(announcements);
        let whole = |claim: &Claim| (claim.names.clone(), 0, claim.holder.service.clone());
        let mut announced: Vec<(Names, usize, String)> = claims.iter().map(whole).collect();
        let mut clashes = Clashes::default();
        // Those that hold the name they claim go first; what is left over claims again in the next round.
        let holds = |claim: &Claim| holders.get(claim.names.primary()) == Some(&claim.holder);
        while !claims.is_empty() {
            claims.sort_by(|a, b| (!holds(a), &a.holder).cmp(&(!holds(b), &b.holder)));
            claims = claims
                .into_iter()
                .filter_map(|claim| {
                    let left = wanted.add_claim(claim, &mut places)?;
                    let service = &left.holder.service;
                    announced.push((left.names, left.taken, service.clone()));
                    clashes.note(service, left.notice);
                    left.rest.map(|names| Claim { holder: left.holder, names })
                })
                .collect();
        }
        wanted.notices.extend(clashes.told());
        // Who wants exactly these names wants this certificate, whoever came first.
        for (names, taken, service) in announced {
            let mut set = names.set();
            for primary in names.iter().take(taken + 1) {
                if let Some(place) = places.by_set.get(&set) {
                    wanted.entries[*place].origins.insert(service.clone());
                }
                set.remove(primary);
            }
        }
        wanted.entries.sort_by(|a, b| a.names.primary().cmp(b.names.primary()));
        wanted
    }

    /// All wanted names.
    pub fn names(&self) -> NameSet {
        self.entries.iter().flat_map(|entry| entry.names.iter()).cloned().collect()
    }

    fn claims(&mut self, announcements: &[Announcement]) -> Vec<Claim> {
        let mut claims = Vec::new();
        for Announcement { uuid, service, label } in announcements {
            let (label, left_out) = bounded(label);
            let (entries, bad) = parse_list(label);
            let notices = bad.iter().take(MOST_BAD);
            self.notices.extend(notices.map(|bad| format!("{service} announces {bad}")));
            if let Some(more) = bad.len().checked_sub(MOST_BAD).filter(|more| *more > 0) {
                self.notices.insert(format!("{service} announces {more} more that are no names"));
            }
            if left_out > 0 {
                self.notices.insert(format!(
                    "{service} announces more than the {LONGEST_LABEL} bytes that are read of one label: what is behind \
                     them is left out ({left_out} entries)"
                ));
            }
            let holder = Holder { uuid: uuid.clone(), service: service.clone() };
            let mut own: BTreeMap<DomainName, Vec<DomainName>> = BTreeMap::new();
            for names in entries {
                own.entry(names.primary().clone()).or_default().extend(names.iter().cloned());
            }
            let (fit, large): (Vec<Names>, Vec<Names>) = own
                .into_values()
                .filter_map(Names::new)
                .partition(|names| names.count() <= MOST_NAMES);
            self.notices.extend(too_large(service, &large));
            claims.extend(fit.into_iter().map(|names| Claim { holder: holder.clone(), names }));
        }
        claims
    }

    fn add_domains(&mut self, names: &Names, places: &mut Places) {
        match places.by_primary.get(names.primary()) {
            Some(place) => self.entries[*place].names.extend(names.iter().cloned()),
            None => self.add(names.clone(), DOMAINS, places),
        }
    }

    /// The first of the entries with the same names stays.
    fn drop_equal_sets(&mut self) {
        let mut seen: BTreeSet<NameSet> = BTreeSet::new();
        self.entries.retain(|entry| seen.insert(entry.names.set()));
    }

    /// Takes a claim, or answers what is left of it without the first names, as many as belong to others.
    fn add_claim(&mut self, claim: Claim, places: &mut Places) -> Option<Left> {
        let Claim { holder, names } = claim;
        let mut set = names.set();
        let mut taken = Vec::new();
        let mut rest = None;
        let mut result = "nothing is left to do for it".to_owned();
        for primary in names.iter() {
            let is_whole = taken.is_empty();
            if places.by_set.contains_key(&set) {
                if is_whole {
                    return None;
                }
                result = "the others have a certificate".to_owned();
                break;
            }
            let Some(place) = places.by_primary.get(primary) else {
                let left = Names::new(names.iter().skip(taken.len()).cloned())?;
                if is_whole {
                    places.by_set.insert(set, self.entries.len());
                    self.add(left, &holder.service, places);
                    self.holders.insert(primary.clone(), holder);
                    return None;
                }
                result = format!("{} become a certificate of their own", quoted(&left));
                rest = Some(left);
                break;
            };
            taken.push((primary, &self.entries[*place].origins));
            set.remove(primary);
        }
        let notice = clash(&holder, &names, &taken, &result);
        let taken = taken.len();
        Some(Left { holder, names, taken, notice, rest })
    }

    fn add(&mut self, names: Names, origin: &str, places: &mut Places) {
        places.by_primary.insert(names.primary().clone(), self.entries.len());
        self.entries.push(Entry { names, origins: BTreeSet::from([origin.to_owned()]) });
    }
}

/// Where in the list an entry is: of thousands, each is looked for.
#[derive(Default)]
struct Places {
    by_primary: BTreeMap<DomainName, usize>,
    /// Of several the first. Names are added to entries of `DOMAINS` only, before there is any in here.
    by_set: BTreeMap<NameSet, usize>,
}

/// The whole entries of a label among as many bytes as are read, and how many entries are behind them.
fn bounded(label: &str) -> (&str, usize) {
    if label.len() <= LONGEST_LABEL {
        return (label, 0);
    }
    // The comma may be the one right behind what is read.
    let longest = &label[..label.floor_char_boundary(LONGEST_LABEL + 1)];
    let end = longest.rfind(',').unwrap_or(0);
    (&label[..end], label[end..].trim_start_matches(',').split(',').count())
}

struct Claim {
    holder: Holder,
    names: Names,
}

/// What is left of a claim whose first names belong to others.
struct Left {
    holder: Holder,
    names: Names,
    /// How many of them are taken.
    taken: usize,
    notice: String,
    rest: Option<Names>,
}

/// Notices of names that others have, by service.
#[derive(Default)]
struct Clashes(BTreeMap<String, (Vec<String>, usize)>);

impl Clashes {
    fn note(&mut self, service: &str, notice: String) {
        let (told, more) = self.0.entry(service.to_owned()).or_default();
        match told.len() < MOST_BAD {
            true => told.push(notice),
            false => *more += 1,
        }
    }

    fn told(self) -> impl Iterator<Item = String> {
        self.0.into_iter().flat_map(|(service, (mut told, more))| {
            if more > 0 {
                told.push(format!(
                    "{service} announces {more} more whose first name belongs to others"
                ));
            }
            told
        })
    }
}

/// Entries of more names than a certificate has, a sentence each, and how many there are more.
fn too_large(service: &str, entries: &[Names]) -> impl Iterator<Item = String> {
    let told = entries.iter().take(MOST_BAD).map(move |names| {
        format!(
            "{service} announces {} names in one entry, {}: a certificate has at most {MOST_NAMES}, and none is ordered \
             for them; parted by commas they are several",
            names.count(),
            quoted(names)
        )
    });
    let more = entries.len().checked_sub(MOST_BAD).filter(|more| *more > 0);
    told.chain(more.map(move |more| {
        format!("{service} announces {more} more entries of over {MOST_NAMES} names")
    }))
}

fn clash(
    holder: &Holder,
    names: &Names,
    taken: &[(&DomainName, &BTreeSet<String>)],
    result: &str,
) -> String {
    let owned = |(name, owners): &(&DomainName, &BTreeSet<String>)| {
        format!("`{name}` belongs to {}", few(*owners, ", "))
    };
    let taken: Vec<String> = taken.iter().map(owned).collect();
    format!("{} announces {}, but {}: {result}", holder.service, quoted(names), few(&taken, ", "))
}

fn quoted(names: &Names) -> String {
    format!("`{}`", few(&names.iter().collect::<Vec<_>>(), " "))
}

/// The first ones, and how many there are more.
fn few<'a, T: Display + 'a>(all: impl IntoIterator<Item = &'a T>, between: &str) -> String {
    let mut all = all.into_iter();
    let shown: Vec<String> = all.by_ref().take(MOST_SHOWN).map(T::to_string).collect();
    let shown = shown.join(between);
    match all.count() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
