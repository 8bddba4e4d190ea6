//! Keys of kinds that the sandbox does not make: openssl makes them.

use sandbox::certs::Pair;

use crate::support::World;
use crate::support::leaf;
use crate::support::tree::contents;
use crate::support::tree::issued_for_key;
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
        assert!(
            key.starts_with(&format!("-----BEGIN {kind}-----\n")),
            "{key}"
        );
        world.certbots(name, &[name], &[issued_for_key(&[name], 70, key.clone())]);
    }
    let mut daemon = world.daemon("pkcs1.example.com,sec1.example.com,rsa.example.com");
    for (name, _, key) in &keys {
        let live = std::fs::read_to_string(world.live(name, "cert.pem")).unwrap();
        world.holds(name, &leaf(&live)).await;
        let held = world.rancher.certificate(name).unwrap();
        assert!(
            held.key.starts_with("-----BEGIN PRIVATE KEY-----\n"),
            "{name}"
        );
        assert_eq!(held.key.matches("-----BEGIN").count(), 1, "{name}");
        let public = |key: &str| openssl(&["pkey", "-pubout"], key);
        assert_eq!(public(&held.key), public(key), "{name}");
    }
    daemon.settles().await;
    world.nothing_is_issued(&daemon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_judged_is_neither_replaced_nor_issued_anew() {
    let world = World::start().await;
    // Keys that ring does not know: it cannot be told whether they fit.
    let kinds = [
        ("ed448.example.com", "ed448"),
        ("p521.example.com", "ec:secp521r1"),
        ("small.example.com", "rsa:1024"),
    ];
    for (name, kind) in kinds {
        let (algorithm, option) = kind.split_once(':').unwrap_or((kind, ""));
        let key = match algorithm {
            "ec" => {
                let curve = format!("ec_paramgen_curve:{option}");
                openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", &curve], "")
            }
            "rsa" => openssl(&["genrsa", option], ""),
            _ => openssl(&["genpkey", "-algorithm", algorithm], ""),
        };
        let key_file = world.path(&format!("{name}.key"));
        std::fs::write(&key_file, &key).unwrap();
        let alternative = format!("subjectAltName=DNS:{name}");
        let subject = format!("/CN={name}");
        let cert_pem = openssl(
            &[
                "req",
                "-x509",
                "-key",
                key_file.to_str().unwrap(),
                "-subj",
                &subject,
                "-addext",
                &alternative,
                "-days",
                "80",
            ],
            "",
        );
        let pair = Pair {
            key_pem: key,
            cert_pem,
            chain_pem: String::new(),
        };
        world.certbots(name, &[name], &[pair]);
    }
    let before = contents(&world.store().join("archive"));
    let mut daemon =
        world.daemon("ed448.example.com,p521.example.com,small.example.com,well.example.com");
    world.pushed("well.example.com").await;
    daemon.settles().await;
    let text = daemon.text();
    for (name, _) in kinds {
        assert_eq!(world.issued(name), [""; 0], "{text}");
        assert!(world.rancher.certificate(name).is_none(), "{text}");
        let is_told = daemon.log().iter().any(|line| {
            line["message"] == "certificate needs attention"
                && line["names"] == name
                && line["reason"]
                    .as_str()
                    .is_some_and(|reason| reason.contains("cannot check"))
        });
        assert!(is_told, "{name}\n{text}");
    }
    let after = contents(&world.store().join("archive"));
    for (name, seen) in before {
        assert_eq!(after.get(&name), Some(&seen), "{name}");
    }
}
