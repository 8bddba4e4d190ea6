//! Whatever stands in a file, reading it is no end of the program.

use proptest::prelude::ProptestConfig;
use proptest::prelude::any;
use proptest::prop_oneof;
use proptest::proptest;
use proptest::strategy::Just;
use proptest::strategy::Strategy;
use serde_json::json;

use super::*;
use crate::store::publish::version_number;
use crate::store::renewal::Renewal;
use crate::store::renewal::turned_off;

/// Bytes of all kinds, and texts with a piece taken out or put in.
fn mangled(text: String) -> impl Strategy<Value = Vec<u8>> {
    let length = text.len();
    let bytes = text.into_bytes();
    let edit = (0..=length, 0..=length, proptest::collection::vec(any::<u8>(), 0..8));
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        edit.prop_map(move |(from, to, put)| {
            let mut bytes = bytes.clone();
            bytes.splice(from.min(to)..from.max(to), put);
            bytes
        }),
    ]
}

fn json_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

fn a_record() -> Record {
    let place = Place::new();
    publish(&place.store(), A, &bundle(A))
}

/// Every date that a file can hold.
fn dates() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("9999-12-31T23:59:59Z".to_owned()),
        Just("0000-01-01T00:00:00Z".to_owned()),
        (0..=9999_u32, 1..=12_u32, 1..=28_u32)
            .prop_map(|(year, month, day)| format!("{year:04}-{month:02}-{day:02}T00:00:00Z")),
    ]
}

/// A case takes several writes to a disk: so many fewer of them than where nothing is written.
pub(super) fn fewer() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.div_ceil(6), ..config }
}

proptest! {
    #![proptest_config(fewer())]

    #[test]
    fn any_bytes_in_a_record(bytes in mangled(json_text(&a_record()))) {
        let place = Place::new();
        place.write("rancher-lets-encrypt/certificates/a.example.com.json", &bytes);
        let store = place.store();
        let lineages = store.lineages(NOW).unwrap();
        store.repair_live(NOW).unwrap();
        // Set aside, or read.
        let aside = place.path("rancher-lets-encrypt/certificates/a.example.com.json.broken");
        assert_eq!(lineages.is_empty(), aside.exists());
    }

    #[test]
    fn any_bytes_in_an_order(bytes in mangled(json_text(&order(A)))) {
        let place = Place::new();
        let path = "rancher-lets-encrypt/pending/a.example.com.json";
        place.write(path, &bytes);
        let store = place.store();
        let is_order = matches!(store.pending(A), Pending::Order(_));
        assert_ne!(is_order, place.path(&format!("{path}.broken")).exists());
        store.published_tokens().unwrap();
        assert_eq!(store.lineages(NOW).unwrap().len(), usize::from(is_order));
    }

    #[test]
    fn any_bytes_in_an_account_or_in_the_names(bytes in mangled(json_text(&LabelsRecord::default()))) {
        let place = Place::new();
        place.write("rancher-lets-encrypt/accounts/ca.test_directory.json", &bytes);
        place.write("rancher-lets-encrypt/names.json", &bytes);
        let store = place.store();
        store.accounts().unwrap();
        store.account(DIRECTORY).unwrap();
        store.labels().unwrap();
    }

    #[test]
    fn any_bytes_in_a_ledger(bytes in mangled(json_text(&finalizing(&mut Ledger::default(), &names(A).set(), NOW)))) {
        let place = Place::new();
        place.write("rancher-lets-encrypt/ledger.jsonl", &bytes);
        place.store().read_ledger(NOW).unwrap();
    }

    #[test]
    fn any_date_in_a_ledger(
        at in dates(),
        until in dates(),
        failed_at in dates(),
        full_at in dates(),
        lifetime in any::<i64>(),
        failures in any::<u32>(),
    ) {
        let leaf = crate::core::fingerprint::Fingerprint::of(&[A]);
        let subject = json!({"kind": "wake"});
        let domain = json!({"bucket": "domain", "directory": DIRECTORY, "domain": "example.com", "full_at": full_at});
        let set = json!({"bucket": "set", "directory": DIRECTORY, "names": [A], "full_at": full_at});
        let lines = [
            json!({"at": at, "event": "registering", "directory": DIRECTORY, "levels": []}),
            json!({"at": at, "event": "levels", "levels": [domain]}),
            json!({"at": at, "event": "finalizing", "directory": DIRECTORY, "names": [A], "levels": [set]}),
            json!({"at": at, "event": "issued", "directory": DIRECTORY, "names": [A], "leaf": leaf, "lifetime": lifetime}),
            json!({
                "at": at, "event": "failed", "subject": subject, "failures": failures, "until": until,
                "failed_at": failed_at, "detail": "",
            }),
        ];
        let place = Place::new();
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        place.write("rancher-lets-encrypt/ledger.jsonl", text);
        let mut ledger = place.store().read_ledger(NOW).unwrap();
        assert_eq!(ledger.failures(&Subject::Wake), failures);
        let set = names(A).set();
        for now in [NOW, OffsetDateTime::UNIX_EPOCH, NOW + Duration::days(20_000)] {
            ledger.clamp_future(now);
            ledger.recall(now + Duration::DAY);
            drop(ledger.levels().check(&asked(&set), &LETS_ENCRYPT, now));
            let mut spent = ledger.levels().clone();
            spent.spend_certificate(&asked(&set), &LETS_ENCRYPT, now);
            spent.give_back(&asked(&set), &LETS_ENCRYPT, now);
            ledger.floor(DIRECTORY, &names(A).set(), now);
            ledger.waiting(&Subject::Wake, now);
            ledger.next_end(now);
            ledger.compacted(now);
        }
    }

    #[test]
    fn any_date_in_an_order(at in dates()) {
        let mut order = serde_json::to_value(order(A)).unwrap();
        order["intended_at"] = json!(at);
        order["received"] = json!({"chain": "", "at": at, "refused": "it is for somebody else"});
        let order: PendingOrder = serde_json::from_value(order).unwrap();
        order.block(NOW);
    }

    #[test]
    fn any_bytes_in_a_renewal_file(bytes in mangled(CONF.to_owned())) {
        let place = Place::new();
        place.certbots(A, "", &[]);
        place.write("renewal/a.example.com.conf", &bytes);
        let takeover = place.store().take_over(NOW).unwrap();
        assert_eq!(takeover.left.len(), 1, "{takeover:?}");
        assert_eq!(fs::read(place.path("renewal/a.example.com.conf")).unwrap(), bytes);
    }

    #[test]
    fn only_autorenew_changes_in_a_renewal_file(bytes in mangled(CONF.to_owned())) {
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        let Some(renewal) = Renewal::parse(&text) else { return Ok(()) };
        let off = turned_off(&text);
        let read = Renewal::parse(&off).unwrap();
        assert!(read.is_off);
        assert_eq!(read.server, renewal.server);
        let without = |text: &str| -> Vec<String> {
            text.lines().filter(|line| !line.starts_with("autorenew")).map(str::to_owned).collect()
        };
        assert_eq!(without(&off), without(&text));
        assert_eq!(turned_off(&off), off);
    }

    #[test]
    fn any_name_in_an_archive(
        text in ".{0,40}",
        number in prop_oneof![any::<u64>(), Just(u64::from(u32::MAX))],
    ) {
        version_number(&text);
        let parsed = version_number(&format!("privkey{number}.pem"));
        assert_eq!(parsed, u32::try_from(number).ok().filter(|number| *number < u32::MAX));
    }
}
