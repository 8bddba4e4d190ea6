//! A tree that certbot left: nothing is issued for what is fresh, and what is not ours stays as it is.

mod keys;

use std::path::Path;

use sandbox::certs::Pair;

use crate::support::World;
use crate::support::daemon::Daemon;
use crate::support::leaf;
use crate::support::tree::block;
use crate::support::tree::contents;
use crate::support::tree::issued_before;
use crate::support::tree::lay;
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
    assert!(description.contains("rancher-lets-encrypt leaf="), "{description}");
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
    world.rancher.add_certificate(A, &short.cert_pem, Some(&short.chain_pem), &short.key_pem, None);
    let mut daemon = world.daemon(A);
    world.holds(A, &leaf(&long.cert_pem)).await;
    daemon.settles().await;
    world.nothing_is_issued(&daemon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lineage_that_is_not_ours_to_renew_is_left_alone_and_the_next_number_used() {
    let world = World::start().await;
    world.certbots(A, &["*.a.example.com", A], &[issued_before(&["*.a.example.com", A], 70)]);
    let server = format!("server = {}\n", world.production.directory_url());
    let conf = renewal_conf(&world.store(), "b.example.com", "x", &[]).replace("server = x\n", "");
    assert!(!conf.contains(&server));
    let manual = issued_before(&["b.example.com"], 70);
    lay(&world.store(), "b.example.com", &conf, &[manual]);
    put(&world.store().join("live/c.example.com/notes.txt"), "somebody's");
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
    assert!(daemon.text().contains("fullchain1.pem"), "{}", daemon.text());
    std::fs::rename(away, file).unwrap();
    world.holds(A, &leaf(&pair.cert_pem)).await;
    daemon.settles().await;
    world.nothing_is_issued(&daemon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_of_what_cannot_be_read_is_refused_with_the_reason() {
    let world = World::start().await;
    world.certbots(A, &[A], &[issued_before(&[A], 70)]);
    // The archive is on a volume that is not mounted.
    for file in ["cert", "chain", "fullchain", "privkey"] {
        let link = world.live(A, &format!("{file}.pem"));
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(format!("/not-mounted/{file}1.pem"), link).unwrap();
    }
    std::fs::remove_dir_all(world.store().join("archive").join(A)).unwrap();
    let settings = world.settings().with("DOMAINS", A);
    let (mut daemon, _port) = settings.clone().start_seen().await;
    daemon.passes(1).await;
    let explained = settings.runs(&["explain", A]).await;
    assert!(explained.out.contains("fullchain1.pem"), "{}", explained.out);
    let asked = settings.runs(&["renew", A]).await;
    assert_eq!(asked.code, 1, "{}{}", asked.out, asked.err);
    assert!(asked.err.contains("fullchain1.pem"), "{}", asked.err);
    world.nothing_is_issued(&daemon);
}
