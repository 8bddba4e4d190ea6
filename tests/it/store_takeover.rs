//! A tree that certbot left: nothing is issued for what is fresh, and what is not ours stays as it is.

use std::path::Path;

use sandbox::certs::Pair;

use crate::support::World;
use crate::support::daemon::Daemon;
use crate::support::leaf;
use crate::support::tree::block;
use crate::support::tree::contents;
use crate::support::tree::issued_before;
use crate::support::tree::issued_for_key;
use crate::support::tree::lay;
use crate::support::tree::openssl;
use crate::support::tree::renewal_conf;

const A: &str = "a.example.com";

impl World {
    /// Lays a lineage for its names, of the production directory.
    fn certbots(&self, lineage: &str, names: &[&str], versions: &[Pair]) {
        let server = self.production.directory_url();
        let conf = renewal_conf(&self.store(), lineage, &server, names);
        lay(&self.store(), lineage, &conf, versions);
    }

    fn conf(&self, lineage: &str) -> String {
        let path = self.store().join(format!("renewal/{lineage}.conf"));
        std::fs::read_to_string(path).unwrap()
    }

    fn nothing_is_issued(&self, daemon: &Daemon) {
        assert_eq!(self.production.orders().len(), 0, "{}", daemon.text());
        assert_eq!(self.staging.orders().len(), 0, "{}", daemon.text());
    }
}

fn put(path: &Path, content: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certbot_tree_is_taken_over_without_issuing_anything() {
    let world = World::start().await;
    let versions = [10, 40, 70].map(|days| issued_before(&[A], days));
    world.certbots(A, &[A], &versions);
    let conf = world.conf(A);
    // Pushed by whoever was here before: no mark, and an older version.
    let older = &versions[0];
    let id = world.rancher.add_certificate(
        A,
        &older.cert_pem,
        Some(&older.chain_pem),
        &older.key_pem,
        Some("ours"),
    );
    let others = [
        "accounts/acme-v02.api.letsencrypt.org/directory/0123/regr.json",
        "keys/0000_key-certbot.pem",
        "csr/0000_csr-certbot.pem",
        "renewal-hooks/deploy/reload.sh",
        "live/somebody.example.com/README",
    ];
    for other in others {
        put(&world.store().join(other), "somebody's");
    }
    let before = contents(&world.store());
    let mut daemon = world.daemon(A);
    daemon.says("certbot's lineage taken over").await;
    world.holds(A, &leaf(&versions[2].cert_pem)).await;
    daemon.settles().await;
    world.nothing_is_issued(&daemon);
    let held = world.rancher.certificate(A).unwrap();
    assert_eq!(held.id, id);
    assert_eq!(held.chain.as_deref(), Some(versions[2].chain_pem.as_str()));
    let description = held.description.unwrap();
    assert!(description.starts_with("ours "), "{description}");
    assert!(
        description.contains("rancher-lets-encrypt leaf="),
        "{description}"
    );
    assert_eq!(
        world.conf(A),
        conf.replace("[renewalparams]\n", "[renewalparams]\nautorenew = False\n")
    );
    let after = contents(&world.store());
    let untouched = |name: &&String| {
        let is_folder = world.store().join(name).is_dir();
        !is_folder && !name.starts_with("renewal/a.example.com.conf")
    };
    for name in before.keys().filter(untouched) {
        assert_eq!(before[name], after[name], "{name}");
    }
    // A restart finds it done.
    daemon.stop().await;
    let mut daemon = world.daemon(A);
    daemon.settles().await;
    assert!(!daemon.text().contains("taken over"), "{}", daemon.text());
    world.nothing_is_issued(&daemon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lineage_is_found_by_its_names_whatever_its_folder_is_called() {
    let world = World::start().await;
    let names = ["b.example.com", A];
    let pair = issued_before(&names, 70);
    world.certbots("my-cert", &names, std::slice::from_ref(&pair));
    let mut daemon = world.daemon("a.example.com b.example.com");
    world.holds(A, &leaf(&pair.cert_pem)).await;
    daemon.settles().await;
    world.nothing_is_issued(&daemon);
    assert!(!world.store().join("live").join(A).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_lineages_of_the_same_names_the_one_that_lasts_longest_is_used() {
    let world = World::start().await;
    let (short, long) = (issued_before(&[A], 40), issued_before(&[A], 80));
    world.certbots(A, &[A], std::slice::from_ref(&short));
    world.certbots("a.example.com-0001", &[A], std::slice::from_ref(&long));
    // What the other lineage holds is ours as well.
    world.rancher.add_certificate(
        A,
        &short.cert_pem,
        Some(&short.chain_pem),
        &short.key_pem,
        None,
    );
    let mut daemon = world.daemon(A);
    world.holds(A, &leaf(&long.cert_pem)).await;
    daemon.settles().await;
    world.nothing_is_issued(&daemon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lineage_that_is_not_ours_to_renew_is_left_alone_and_the_next_number_used() {
    let world = World::start().await;
    world.certbots(
        A,
        &["*.a.example.com", A],
        &[issued_before(&["*.a.example.com", A], 70)],
    );
    let server = format!("server = {}\n", world.production.directory_url());
    let conf = renewal_conf(&world.store(), "b.example.com", "x", &[]).replace("server = x\n", "");
    assert!(!conf.contains(&server));
    let manual = issued_before(&["b.example.com"], 70);
    lay(&world.store(), "b.example.com", &conf, &[manual]);
    put(
        &world.store().join("live/c.example.com/notes.txt"),
        "somebody's",
    );
    let before = contents(&world.store());
    let mut daemon = world.daemon("a.example.com,b.example.com,c.example.com");
    for name in [A, "b.example.com", "c.example.com"] {
        world.pushed(name).await;
        let own = format!("{name}-0001");
        let live = std::fs::read_to_string(world.live(&own, "cert.pem")).unwrap();
        assert_eq!(vec![leaf(&live)], world.issued(name));
    }
    daemon.settles().await;
    let text = daemon.text();
    for notice in [
        "its renewal file names no ACME server",
        "it covers `*.a.example.com`",
        "live/c.example.com",
    ] {
        assert!(text.contains(notice), "{notice}\n{text}");
    }
    let after = contents(&world.store());
    let theirs = |name: &&String| {
        let is_folder = world.store().join(name).is_dir();
        !is_folder
    };
    for name in before.keys().filter(theirs) {
        assert_eq!(before[name], after[name], "{name}");
    }
    daemon.stop().await;
    let mut daemon = world.daemon("a.example.com,b.example.com,c.example.com");
    daemon.settles().await;
    assert_eq!(world.production.issued().len(), 3, "{}", daemon.text());
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_issued_while_a_renewal_file_of_certbots_cannot_be_read() {
    check_unreadable("renewal/a.example.com.conf").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_issued_while_a_certificate_of_certbots_cannot_be_read() {
    check_unreadable("archive/a.example.com/fullchain1.pem").await;
}

async fn check_unreadable(file: &str) {
    let world = World::start().await;
    let pair = issued_before(&[A], 70);
    world.certbots(A, &[A], std::slice::from_ref(&pair));
    let unblock = block(&world.store().join(file));
    let mut daemon = world.daemon("a.example.com,well.example.com");
    world.pushed("well.example.com").await;
    daemon.passes(1).await;
    assert_eq!(world.issued(A), [""; 0], "{}", daemon.text());
    assert!(daemon.text().contains(file), "{}", daemon.text());
    assert!(world.rancher.certificate(A).is_none());
    unblock();
    world.holds(A, &leaf(&pair.cert_pem)).await;
    daemon.settles().await;
    assert_eq!(world.issued(A), [""; 0], "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_link_that_leads_nowhere_is_no_reason_to_issue() {
    let world = World::start().await;
    let pair = issued_before(&[A], 70);
    world.certbots(A, &[A], std::slice::from_ref(&pair));
    let file = world.store().join("archive/a.example.com/fullchain1.pem");
    let away = world.path("away");
    std::fs::rename(&file, &away).unwrap();
    // Another version is there, but it is not the one that is live.
    std::fs::write(file.with_file_name("fullchain2.pem"), pair.full_chain_pem()).unwrap();
    let mut daemon = world.daemon(A);
    daemon.passes(1).await;
    world.nothing_is_issued(&daemon);
    assert!(
        daemon.text().contains("fullchain1.pem"),
        "{}",
        daemon.text()
    );
    std::fs::rename(away, file).unwrap();
    world.holds(A, &leaf(&pair.cert_pem)).await;
    daemon.settles().await;
    world.nothing_is_issued(&daemon);
}
