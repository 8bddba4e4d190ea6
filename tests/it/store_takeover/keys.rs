//! Keys of kinds that the sandbox does not make: openssl makes them.

use sandbox::certs::Pair;
use time::Duration;

use crate::support::World;
use crate::support::leaf;
use crate::support::tree::contents;
use crate::support::tree::issued_for_key;
use crate::support::tree::now;
use crate::support::tree::openssl;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_older_kinds_are_pushed_as_pkcs8() {
    let world = World::start().await;
    let pkcs1 = openssl(&["genrsa", "-traditional", "2048"], "");
    let sec1 = openssl(&["ecparam", "-name", "secp384r1", "-genkey", "-noout"], "");
    let rsa_pkcs8 = openssl(&["genrsa", "2048"], "");
    let keys = [
        ("pkcs1.example.com", "RSA PRIVATE KEY", pkcs1),
        ("sec1.example.com", "EC PRIVATE KEY", sec1),
        ("rsa.example.com", "PRIVATE KEY", rsa_pkcs8),
    ];
    for (name, kind, key) in &keys {
        assert!(key.starts_with(&format!("-----BEGIN {kind}-----\n")), "{key}");
        world.certbots(name, &[name], &[issued_for_key(&[name], 70, key.clone())]);
    }
    let mut daemon = world.daemon("pkcs1.example.com,sec1.example.com,rsa.example.com");
    for (name, _, key) in &keys {
        let live = std::fs::read_to_string(world.live(name, "cert.pem")).unwrap();
        world.holds(name, &leaf(&live)).await;
        let held = world.rancher.certificate(name).unwrap();
        assert!(held.key.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{name}");
        assert_eq!(held.key.matches("-----BEGIN").count(), 1, "{name}");
        let public = |key: &str| openssl(&["pkey", "-pubout"], key);
        assert_eq!(public(&held.key), public(key), "{name}");
    }
    daemon.settles().await;
    world.nothing_is_issued(&daemon);
}

/// Kinds of key that ring does not use. Each RSA key of more than 4096 bits is alike, and this one made sooner.
fn unknown(kind: &str) -> String {
    let (algorithm, option) = kind.split_once(' ').unwrap_or((kind, ""));
    let options = ["genpkey", "-algorithm", algorithm, "-pkeyopt", option];
    let length = if option.is_empty() { 3 } else { 5 };
    openssl(&options[..length], "")
}

/// A certificate for such a key, of an authority that openssl makes too, issued eighty days ago for as many and
/// `days_left` more.
fn issued_for_unknown(name: &str, days_left: i64, key_pem: String) -> Pair {
    const CONFIG: &str = "[ca]\ndefault_ca = own\n[own]\ndatabase = index\nnew_certs_dir = .\nrand_serial = yes\n\
        default_md = sha256\npolicy = any\ncopy_extensions = copy\n[any]\ncommonName = supplied\n";
    let folder = tempfile::tempdir().unwrap();
    let path = |file: &str| folder.path().join(file).to_str().unwrap().to_owned();
    let config = CONFIG.replace("index", &path("index")).replace("= .", &format!("= {}", path("")));
    let authority_key =
        openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "");
    for (file, content) in [
        ("index", ""),
        ("config", &config),
        ("authority.key", &authority_key),
        ("leaf.key", &key_pem),
    ] {
        std::fs::write(path(file), content).unwrap();
    }
    let (subject, alternative) = (format!("/CN={name}"), format!("subjectAltName=DNS:{name}"));
    let [own_key, leaf_key, chain, request, settings] =
        ["authority.key", "leaf.key", "chain", "request", "config"].map(path);
    let root = ["req", "-x509", "-key", &own_key, "-subj", "/CN=Tree Root", "-out", &chain];
    openssl(&root, "");
    let asked = [
        "req",
        "-new",
        "-key",
        &leaf_key,
        "-subj",
        &subject,
        "-addext",
        &alternative,
        "-out",
        &request,
    ];
    openssl(&asked, "");
    let at = |days: i64| {
        let at = now() + Duration::days(days);
        let date = at.date().to_string().replace('-', "");
        format!("{date}000000Z")
    };
    let (begins, ends) = (at(-80), at(days_left));
    let issue = [
        "ca",
        "-config",
        &settings,
        "-batch",
        "-notext",
        "-in",
        &request,
        "-cert",
        &chain,
        "-keyfile",
        &own_key,
        "-startdate",
        &begins,
        "-enddate",
        &ends,
    ];
    Pair {
        cert_pem: openssl(&issue, ""),
        chain_pem: std::fs::read_to_string(&chain).unwrap(),
        key_pem,
    }
}

const P521: &str = "EC ec_paramgen_curve:secp521r1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_certificate_with_a_key_of_an_unknown_kind_is_pushed_as_it_is() {
    let world = World::start().await;
    let kinds = [
        ("large.example.com", "RSA rsa_keygen_bits:4608"),
        ("small.example.com", "RSA rsa_keygen_bits:1024"),
        ("p521.example.com", P521),
        ("ed448.example.com", "ED448"),
    ];
    let mut all = Vec::new();
    for (name, kind) in kinds {
        let pair = issued_for_unknown(name, 70, unknown(kind));
        world.certbots(name, &[name], std::slice::from_ref(&pair));
        all.push((name, pair));
    }
    let before = contents(&world.store().join("archive"));
    let domains = kinds.map(|(name, _)| name).join(",");
    let mut daemon = world.daemon(&domains);
    for (name, pair) in &all {
        world.holds(name, &leaf(&pair.cert_pem)).await;
        let held = world.rancher.certificate(name).unwrap();
        assert_eq!(held.key, pair.key_pem, "{name}");
    }
    daemon.settles().await;
    world.nothing_is_issued(&daemon);
    assert_eq!(contents(&world.store().join("archive")), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_with_a_key_of_an_unknown_kind_is_renewed() {
    let world = World::start().await;
    let name = "p521.example.com";
    world.certbots(name, &[name], &[issued_for_unknown(name, -1, unknown(P521))]);
    let mut daemon = world.daemon(name);
    world.pushed(name).await;
    daemon.settles().await;
    let text = daemon.text();
    assert_eq!(world.issued(name).len(), 1, "{text}");
    let held = world.rancher.certificate(name).unwrap();
    let public = openssl(&["pkey", "-text", "-noout"], &held.key);
    assert!(public.contains("prime256v1"), "{public}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_an_unknown_kind_that_belongs_to_another_certificate_is_replaced() {
    let world = World::start().await;
    let name = "p521.example.com";
    let pair = Pair { key_pem: unknown(P521), ..issued_for_unknown(name, 70, unknown(P521)) };
    world.certbots(name, &[name], &[pair]);
    let mut daemon = world.daemon(name);
    world.pushed(name).await;
    daemon.settles().await;
    assert_eq!(world.issued(name).len(), 1, "{}", daemon.text());
}
