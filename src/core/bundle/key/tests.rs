use std::io::Write;
use std::process::Command;
use std::process::Stdio;
use std::sync::LazyLock;

use super::*;
use crate::core::bundle::Bundle;

/// Kinds of key that ring does not use, as `openssl genpkey` makes them. Each RSA key of more than 4096 bits is alike,
/// and this one made sooner than others.
const KINDS: [&[&str]; 4] = [
    &["EC", "-pkeyopt", "ec_paramgen_curve:secp521r1"],
    &["RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
    &["RSA", "-pkeyopt", "rsa_keygen_bits:4608"],
    &["ED448"],
];

fn openssl(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Two keys of each kind.
static KEYS: LazyLock<Vec<[String; 2]>> =
    LazyLock::new(|| KINDS.iter().map(|kind| [key(kind), key(kind)]).collect());

fn key(kind: &[&str]) -> String {
    openssl(&[&["genpkey", "-algorithm"], kind].concat(), "")
}

fn certificate(key: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), key).unwrap();
    let path = file.path().to_str().unwrap();
    let name = "subjectAltName=DNS:a.example.com";
    let request = ["req", "-x509", "-key", path, "-subj", "/CN=a", "-addext", name];
    openssl(&request, "")
}

fn read(certificate: &str, key: &str) -> Result<Bundle, Flaw> {
    Bundle::parse(certificate, &Secret::new(key))
}

fn public(key: &str) -> String {
    openssl(&["pkey", "-pubout"], key)
}

#[test]
fn a_key_that_ring_does_not_know_fits_unless_it_shows_another_public_half() {
    for (kind, [own, other]) in KINDS.iter().zip(KEYS.iter()) {
        let certificate = certificate(own);
        let bundle = read(&certificate, own).unwrap();
        assert_eq!(bundle.leaf().names().collect::<Vec<_>>(), ["a.example.com"]);
        assert_eq!(bundle.key_pem().reveal(), own, "{kind:?}");
        // Not in a file of openssl's.
        let shows_a_half = kind[0] != "ED448";
        let read_other = read(&certificate, other);
        assert_eq!(read_other.is_err(), shows_a_half, "{kind:?}: {read_other:?}");
        for [strange, _] in KEYS.iter().filter(|[strange, _]| strange != own) {
            assert!(read(&certificate, strange).is_err(), "{kind:?}");
        }
        for length in [own.len() / 2, own.len() - 30] {
            assert!(read(&certificate, &own[..length]).is_err(), "{kind:?}");
        }
    }
}

#[test]
fn what_ring_cannot_check_is_no_proof_of_a_signature_of_its_own() {
    for (kind, [own, _]) in KINDS.iter().zip(KEYS.iter()) {
        let bundle = read(&certificate(own), own).unwrap();
        let is_checked = kind.contains(&"rsa_keygen_bits:4608");
        assert_eq!(bundle.leaf().is_self_signed, is_checked, "{kind:?}");
    }
}

#[test]
fn older_forms_of_unknown_keys_become_pkcs8() {
    for (kind, [own, other]) in KINDS.iter().zip(KEYS.iter()).take(3) {
        let older = if kind[0] == "EC" {
            openssl(&["ec"], own)
        } else {
            openssl(&["rsa", "-traditional"], own)
        };
        assert!(!older.contains("-----BEGIN PRIVATE KEY"), "{kind:?}");
        let bundle = read(&certificate(own), &older).unwrap();
        let pkcs8 = bundle.key_pem().reveal();
        assert!(pkcs8.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert_eq!(pkcs8.matches("-----BEGIN").count(), 1);
        assert_eq!(public(pkcs8), public(own), "{kind:?}");
        assert!(read(&certificate(other), &older).is_err(), "{kind:?}");
    }
}

#[test]
fn a_curve_without_or_with_a_compressed_point_is_compared_as_far_as_it_can_be() {
    let [own, other] = &KEYS[0];
    let cert = certificate(own);
    let bare = openssl(&["ec", "-no_public"], own);
    read(&cert, &bare).unwrap();
    let smaller = key(&["EC", "-pkeyopt", "ec_paramgen_curve:secp384r1"]);
    let smaller_cert = certificate(&smaller);
    read(&smaller_cert, &smaller).unwrap();
    let pkcs8 = openssl(&["pkcs8", "-topk8", "-nocrypt"], &bare);
    read(&cert, &pkcs8).unwrap();
    assert!(read(&smaller_cert, &pkcs8).is_err(), "another curve");
    let compressed = openssl(&["ec", "-conv_form", "compressed"], own);
    read(&cert, &compressed).unwrap();
    let other = openssl(&["ec", "-conv_form", "compressed"], other);
    assert!(read(&cert, &other).is_err());
}
