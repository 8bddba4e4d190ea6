use std::sync::LazyLock;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertifiedIssuer;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::KeyPair;
use time::macros::datetime;

use super::*;

/// The time that unit tests call now.
pub(crate) const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

pub(crate) fn params(names: &[&str], from: Duration, lifetime: Duration) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = NOW + from;
    params.not_after = NOW + from + lifetime;
    params
}

fn issuer(common_name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = params(&[], Duration::days(-100), Duration::days(2000));
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // An intermediate: roots are left out of bundles.
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &*ROOT).unwrap()
}

static ROOT: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(|| {
    let mut params = params(&[], Duration::days(-200), Duration::days(4000));
    params.distinguished_name.push(DnType::CommonName, "Unit Test Root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
});

static ISSUER: LazyLock<CertifiedIssuer<'static, KeyPair>> =
    LazyLock::new(|| issuer("Unit Test CA"));
static STAGING: LazyLock<CertifiedIssuer<'static, KeyPair>> =
    LazyLock::new(|| issuer("(STAGING) Unit Test CA"));

/// Chain (leaf, issuer) and key as PEM.
pub(crate) fn pems(params: &CertificateParams) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &*ISSUER).unwrap();
    (leaf.pem() + &ISSUER.pem(), key.serialize_pem())
}

pub(crate) fn shown(names: &[&str], from: Duration, lifetime: Duration) -> CertificateChain {
    CertificateChain::parse(&pems(&params(names, from, lifetime)).0, "").unwrap()
}

pub(crate) fn leaf(names: &[&str], from: Duration, lifetime: Duration) -> Leaf {
    shown(names, from, lifetime).leaf
}

pub(crate) fn staging(names: &[&str], from: Duration, lifetime: Duration) -> CertificateChain {
    let key = KeyPair::generate().unwrap();
    let leaf = params(names, from, lifetime).signed_by(&key, &*STAGING).unwrap();
    CertificateChain::parse(&leaf.pem(), &STAGING.pem()).unwrap()
}

pub(crate) fn self_signed(names: &[&str], from: Duration, lifetime: Duration) -> CertificateChain {
    let key = KeyPair::generate().unwrap();
    let leaf = params(names, from, lifetime).self_signed(&key).unwrap();
    CertificateChain::parse(&leaf.pem(), "").unwrap()
}

#[test]
fn a_leaf_is_read_with_names_dates_and_marks() {
    let names = ["b.example.com", "A.example.com", "*.w.example.com"];
    let leaf = leaf(&names, Duration::ZERO, Duration::days(90));
    assert_eq!(
        leaf.names().collect::<Vec<_>>(),
        ["*.w.example.com", "a.example.com", "b.example.com"]
    );
    assert_eq!((leaf.not_before, leaf.lifetime()), (NOW, Duration::days(90)));
    assert!(!leaf.is_self_signed && !leaf.is_marked_staging);
    assert!(staging(&names, Duration::ZERO, Duration::DAY).leaf.is_marked_staging);
    assert!(self_signed(&names, Duration::ZERO, Duration::DAY).leaf.is_self_signed);
    let covered = |name: &str| leaf.covers(&name.parse().unwrap());
    assert!(covered("a.example.com") && covered("x.w.example.com"));
    assert!(
        !covered("w.example.com") && !covered("x.y.w.example.com") && !covered("c.example.com")
    );
}

#[test]
fn the_same_certificates_are_the_same_however_they_are_parted() {
    let (chain, _) = pems(&params(&["a.example.com"], Duration::ZERO, Duration::DAY));
    let behind = chain
        .find("-----BEGIN CERTIFICATE-----\n")
        .map(|_| chain.rfind("-----BEGIN").unwrap())
        .unwrap();
    let (leaf, rest) = chain.split_at(behind);
    let whole = CertificateChain::parse(&chain, "").unwrap();
    assert_eq!(CertificateChain::parse(leaf, rest).unwrap(), whole);
    assert_eq!(
        CertificateChain::parse(&leaf.replace('\n', "\r\n"), &format!("text\n{rest}")).unwrap(),
        whole
    );
    assert_ne!(CertificateChain::parse(leaf, "").unwrap(), whole);
    assert_ne!(CertificateChain::parse(leaf, &chain).unwrap(), whole);
}

#[test]
fn a_chain_is_not_taken_for_the_leaf_that_is_missing_before_it() {
    let (chain, _) = pems(&params(&["a.example.com"], Duration::ZERO, Duration::DAY));
    assert!(matches!(CertificateChain::parse("", &chain), Err(Flaw(_))));
    let torn = &chain[..200];
    assert!(matches!(CertificateChain::parse(torn, &chain), Err(Flaw(_))));
}

#[test]
fn what_is_no_certificate_is_broken() {
    for text in ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(matches!(CertificateChain::parse(text, ""), Err(Flaw(_))), "{text}");
    }
}

/// A chain, its key and their names, made once: what is foreign is made from it.
pub(crate) fn genuine() -> &'static (String, String) {
    static PEMS: LazyLock<(String, String)> = LazyLock::new(|| {
        let names = ["a.example.com", "*.example.com"];
        pems(&params(&names, Duration::ZERO, Duration::days(90)))
    });
    &PEMS
}

proptest::proptest! {
    #[test]
    fn any_change_to_a_certificate_is_read_or_refused(
        at in proptest::prelude::any::<proptest::sample::Index>(),
        put in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..6),
        take in 0_usize..40,
    ) {
        let (chain, key) = genuine();
        let ders = certificates(chain).unwrap();
        let mut der = ders[0].clone();
        let from = at.index(der.len());
        let to = der.len().min(from + take);
        der.splice(from..to, put.clone());
        let pem = pem::encode(&pem::Pem::new("CERTIFICATE", der));
        let mut text = chain.clone().into_bytes();
        let from = at.index(text.len());
        let to = text.len().min(from + take);
        text.splice(from..to, put);
        let text = String::from_utf8_lossy(&text).into_owned();
        for foreign in [pem, text] {
            if let Ok(shown) = CertificateChain::parse(&foreign, &foreign) {
                // Whatever it says, it can be asked and says the same again.
                assert_eq!(CertificateChain::parse(&foreign, &foreign).unwrap(), shown);
                shown.leaf.covers(&"a.example.com".parse().unwrap());
                shown.leaf.domain_names();
                shown.leaf.is_current(NOW);
                crate::core::schedule::due_at(&shown.leaf, None);
                crate::core::schedule::overdue_at(&shown.leaf, Some(Duration::days(3)));
            }
            let key = crate::core::bundle::Secret::new(key);
            if let Ok(bundle) = crate::core::bundle::Bundle::parse(&foreign, &key) {
                drop(bundle.verify(&bundle.leaf().domain_names(), NOW));
                let again = crate::core::bundle::Bundle::parse(&bundle.fullchain_pem(), bundle.key_pem()).unwrap();
                assert_eq!(again.shown(), bundle.shown());
            }
        }
    }
}

#[test]
fn a_huge_chain_is_read_in_one_go() {
    let (chain, key) = genuine();
    let behind = &chain[chain.rfind("-----BEGIN").unwrap()..];
    let huge = format!("{chain}{}", behind.repeat(5000));
    let key = crate::core::bundle::Secret::new(key);
    let bundle = crate::core::bundle::Bundle::parse(&huge, &key).unwrap();
    bundle.verify(&bundle.leaf().domain_names(), NOW).unwrap_err();
}
