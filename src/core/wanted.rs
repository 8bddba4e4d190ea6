//! What is wanted: the entries of `DOMAINS` and of the labels, merged into certificates.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

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
/// How many bad names of one label are told one by one.
const MOST_BAD: usize = 20;

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
        let announced: Vec<(NameSet, String)> =
            claims.iter().map(|claim| (claim.names.set(), claim.holder.service.clone())).collect();
        // Those that hold the name they claim go first; what is left over claims again in the next round.
        let holds = |claim: &Claim| holders.get(claim.names.primary()) == Some(&claim.holder);
        while !claims.is_empty() {
            claims.sort_by(|a, b| (!holds(a), &a.holder).cmp(&(!holds(b), &b.holder)));
            claims = claims
                .into_iter()
                .filter_map(|claim| wanted.add_claim(claim, &mut places))
                .collect();
        }
        // Who wants exactly these names wants this certificate, whoever came first.
        for (set, service) in announced {
            if let Some(place) = places.by_set.get(&set) {
                wanted.entries[*place].origins.insert(service);
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
            let mut own: BTreeMap<DomainName, Names> = BTreeMap::new();
            for names in entries {
                match own.get_mut(names.primary()) {
                    Some(present) => present.extend(names.iter().cloned()),
                    None => {
                        own.insert(names.primary().clone(), names);
                    }
                }
            }
            claims.extend(own.into_values().map(|names| Claim { holder: holder.clone(), names }));
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

    /// Takes a claim, or answers what is left of it.
    fn add_claim(&mut self, claim: Claim, places: &mut Places) -> Option<Claim> {
        let Claim { holder, names } = claim;
        let set = names.set();
        if let Some(place) = places.by_set.get(&set) {
            self.entries[*place].origins.insert(holder.service);
            return None;
        }
        let Some(place) = places.by_primary.get(names.primary()) else {
            places.by_set.insert(set, self.entries.len());
            self.add(names.clone(), &holder.service, places);
            self.holders.insert(names.primary().clone(), holder);
            return None;
        };
        let entry = &self.entries[*place];
        let others: Vec<&str> = entry.origins.iter().map(String::as_str).collect();
        let rest = names.without_primary();
        let result = match &rest {
            Some(rest) => format!("`{rest}` become a certificate of their own"),
            None => "nothing is left to do for it".to_owned(),
        };
        let (service, primary) = (&holder.service, names.primary());
        self.notices.insert(format!(
            "{service} announces `{names}`, but `{primary}` belongs to {}: {result}",
            others.join(", ")
        ));
        rest.map(|names| Claim { holder, names })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement(uuid: &str, label: &str) -> Announcement {
        Announcement {
            uuid: uuid.to_owned(),
            service: format!("stack/{uuid}"),
            label: label.to_owned(),
        }
    }

    fn merge(domains: &str, labels: &[(&str, &str)], holders: &Holders) -> Wanted {
        let announcements: Vec<_> =
            labels.iter().map(|(uuid, label)| announcement(uuid, label)).collect();
        Wanted::merge(&parse_list(domains).0, &announcements, holders)
    }

    #[track_caller]
    fn check(domains: &str, labels: &[(&str, &str)], entries: &[&str], notices: usize) {
        let wanted = merge(domains, labels, &Holders::new());
        let texts: Vec<String> =
            wanted.entries.iter().map(|entry| entry.names.to_string()).collect();
        assert_eq!(texts, entries);
        assert_eq!(wanted.notices.len(), notices, "{:?}", wanted.notices);
        let reversed: Vec<_> = labels.iter().rev().copied().collect();
        assert_eq!(
            merge(domains, &reversed, &Holders::new()),
            wanted,
            "order of lists must not matter"
        );
    }

    #[test]
    fn a_label_without_end_is_read_so_far_and_told_once() {
        let entries = |label: &str| {
            let wanted = merge("", &[("1", label)], &Holders::new());
            (wanted.entries.len(), wanted.notices)
        };
        // As long as is read, to the byte, and one byte more.
        let name = "a.test.com";
        let whole = format!("{name}{}", " ".repeat(LONGEST_LABEL - name.len()));
        assert_eq!(entries(&whole), (1, BTreeSet::new()));
        let (read, notices) = entries(&format!("{whole},b.test.com, c.test.com"));
        assert_eq!((read, notices.len()), (1, 1), "{notices:?}");
        assert!(notices.iter().all(|notice| notice.contains("(2 entries)")), "{notices:?}");
        // No certificate is made of a part of an entry.
        let (read, notices) = entries(&format!("a.test.com,{} {whole}", "é".repeat(LONGEST_LABEL)));
        assert_eq!((read, notices.len()), (1, 1), "{notices:?}");
        assert_eq!(entries(&format!("{whole} b.test.com")).0, 0);

        let bad: Vec<String> = (0..10_000).map(|number| format!("{number}_")).collect();
        let (read, notices) = entries(&format!("a.test.com, {}", bad.join(", ")));
        assert_eq!((read, notices.len()), (1, MOST_BAD + 2), "{notices:?}");
    }

    #[test]
    fn entries_merge_as_the_design_says() {
        check("a.test.com, a.test.com b.test.com", &[], &["a.test.com b.test.com"], 0);
        check("a.test.com", &[("1", "a.test.com")], &["a.test.com"], 0);
        // Equal sets in DOMAINS: the first one names the certificate, also where sets become equal by merging.
        check(
            "b.test.com a.test.com, c.test.com, a.test.com b.test.com",
            &[],
            &["b.test.com a.test.com", "c.test.com"],
            0,
        );
        check(
            "a.test.com b.test.com, b.test.com, b.test.com a.test.com",
            &[("1", "b.test.com a.test.com")],
            &["a.test.com b.test.com"],
            0,
        );
        check(
            "",
            &[("1", "b.test.com,a.test.com"), ("2", "c.test.com")],
            &["a.test.com", "b.test.com", "c.test.com"],
            0,
        );
        // Equal sets are one certificate, whoever is asked first names it.
        check(
            "",
            &[("1", "a.test.com b.test.com"), ("2", "b.test.com a.test.com")],
            &["a.test.com b.test.com"],
            0,
        );
        // A label neither adds to DOMAINS nor takes from it.
        check(
            "a.test.com",
            &[("1", "a.test.com x.test.com y.test.com")],
            &["a.test.com", "x.test.com y.test.com"],
            1,
        );
        // The lowest uuid wins a primary name; the extra names of the other become their own.
        check(
            "",
            &[("2", "a.test.com x.test.com"), ("1", "a.test.com y.test.com")],
            &["a.test.com y.test.com", "x.test.com"],
            1,
        );
        // If the first of the extra names clashes too, the next one.
        check(
            "a.test.com, x.test.com",
            &[("1", "a.test.com x.test.com z.test.com")],
            &["a.test.com", "x.test.com", "z.test.com"],
            2,
        );
        check(
            "a.test.com",
            &[("1", "a.test.com b_d c.test.com")],
            &["a.test.com", "c.test.com"],
            2,
        );
    }

    #[test]
    fn a_holder_keeps_its_primary_name_against_a_lower_uuid() {
        let before = merge("", &[("5", "a.test.com")], &Holders::new());
        let labels = [("1", "a.test.com y.test.com"), ("5", "a.test.com")];
        let after = merge("", &labels, &before.holders);
        assert_eq!(after.holders.get(&"a.test.com".parse().unwrap()).unwrap().uuid, "5");
        let without_memory = merge("", &labels, &Holders::new());
        assert_eq!(without_memory.holders.get(&"a.test.com".parse().unwrap()).unwrap().uuid, "1");
    }

    #[test]
    fn an_entry_of_domains_that_is_dropped_moves_no_other() {
        check(
            "a.test.com b.test.com, b.test.com a.test.com, c.test.com",
            &[("1", "c.test.com d.test.com"), ("2", "c.test.com")],
            &["a.test.com b.test.com", "c.test.com", "d.test.com"],
            1,
        );
    }

    #[test]
    fn a_refused_name_is_told_with_its_service() {
        let wanted = merge("", &[("1", "*.test.com")], &Holders::new());
        assert!(
            wanted
                .notices
                .iter()
                .next()
                .unwrap()
                .starts_with("stack/1 announces `*.test.com`: a wildcard")
        );
    }

    /// Names that may clash, beside any text.
    fn labels() -> impl proptest::strategy::Strategy<Value = BTreeMap<u8, String>> {
        let label = "([abc]\\.example\\.com[ ,]{0,2}){0,4}.{0,10}";
        proptest::collection::btree_map(0_u8..6, label, 0..6)
    }

    proptest::proptest! {
        #[test]
        fn any_labels_make_certificates_that_stay_when_read_again(domains in "([ab]\\.example\\.com[ ,]){0,3}.{0,10}", labels in labels()) {
            let (domains, _) = parse_list(&domains);
            let announcements: Vec<Announcement> = labels
                .iter()
                .map(|(uuid, label)| announcement(&uuid.to_string(), label))
                .collect();
            let wanted = Wanted::merge(&domains, &announcements, &Holders::new());
            let primaries: BTreeSet<_> = wanted.entries.iter().map(|entry| entry.names.primary()).collect();
            assert_eq!(primaries.len(), wanted.entries.len());
            let sets: BTreeSet<NameSet> = wanted.entries.iter().map(|entry| entry.names.set()).collect();
            assert_eq!(sets.len(), wanted.entries.len());
            let announced: Vec<_> = announcements.iter().rev().cloned().collect();
            let again = Wanted::merge(&domains, &announced, &wanted.holders);
            assert_eq!((&again.entries, &again.holders), (&wanted.entries, &wanted.holders));
            let kept = serde_json::to_string(&wanted.holders).unwrap();
            assert_eq!(serde_json::from_str::<Holders>(&kept).unwrap(), wanted.holders);
        }
    }
}
