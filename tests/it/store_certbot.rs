//! What Debian's certbot makes of our store.

use std::collections::BTreeMap;
use std::process::Stdio;

use time::macros::format_description;
use tokio::process::Command;

use crate::support::World;
use crate::support::guarded;
use crate::support::tree::contents;
use crate::support::tree::issued_before;
use crate::support::tree::lay;
use crate::support::tree::renewal_conf;

const A: &str = "a.example.com";

impl World {
    /// Everything that certbot says.
    async fn certbot(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("certbot");
        command.args(arguments).arg("--non-interactive");
        for (option, folder) in [
            ("--config-dir", self.store()),
            ("--work-dir", self.path("certbot-work")),
            ("--logs-dir", self.path("certbot-logs")),
        ] {
            command.arg(option).arg(folder);
        }
        command
            .env("REQUESTS_CA_BUNDLE", self.path("acme-roots.pem"))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = guarded("certbot", command.output()).await;
        let output = output.expect("certbot is installed");
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8(text).unwrap()
    }

    async fn certbot_renew(&self) -> String {
        self.certbot(&[
            "renew",
            "--no-random-sleep-on-renew",
            "--agree-tos",
            "--register-unsafely-without-email",
        ])
        .await
    }
}

/// What certbot lists, by name of the certificate and then of the field.
fn listed(text: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut certificates: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once(": ") else {
            continue;
        };
        if key == "Certificate Name" {
            value.clone_into(&mut name);
            certificates.insert(name.clone(), BTreeMap::new());
        } else if let Some(certificate) = certificates.get_mut(&name) {
            certificate.insert(key.to_owned(), value.to_owned());
        }
    }
    certificates
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certbot_lists_what_is_in_the_store() {
    let world = World::start().await;
    // One that certbot made, one beside a folder that is taken, and a plain one.
    let conf =
        renewal_conf(&world.store(), "mine", &world.production.directory_url(), &["c.example.com"]);
    let pair = issued_before(&["c.example.com"], 70);
    lay(&world.store(), "mine", &conf, &[pair]);
    std::fs::create_dir_all(world.store().join("live/b.example.com")).unwrap();
    let mut daemon = world.daemon("a.example.com www.example.com,b.example.com,c.example.com");
    for name in [A, "b.example.com"] {
        world.pushed(name).await;
    }
    daemon.settles().await;
    daemon.stop().await;
    let before = contents(&world.store());
    let text = world.certbot(&["certificates"]).await;
    let certificates = listed(&text);
    assert_eq!(
        certificates.keys().collect::<Vec<_>>(),
        [A, "b.example.com-0001", "mine"],
        "{text}"
    );
    for (lineage, names) in [
        (A, "a.example.com www.example.com"),
        ("b.example.com-0001", "b.example.com"),
        ("mine", "c.example.com"),
    ] {
        let certificate = &certificates[lineage];
        assert_eq!(certificate["Domains"], names, "{text}");
        assert_eq!(certificate["Key Type"], "ECDSA", "{text}");
        let live = |file: &str| world.live(lineage, file).to_str().unwrap().to_owned();
        assert_eq!(certificate["Certificate Path"], live("fullchain.pem"));
        assert_eq!(certificate["Private Key Path"], live("privkey.pem"));
        assert!(certificate["Expiry Date"].contains("(VALID: "), "{text}");
    }
    let issued = world.production.issued();
    let ends = issued.iter().find(|issued| issued.names == ["b.example.com"]);
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]+00:00");
    let ends = ends.unwrap().not_after.format(format).unwrap();
    let told = &certificates["b.example.com-0001"]["Expiry Date"];
    assert!(told.starts_with(&ends), "{told} {ends}");
    let after = contents(&world.store());
    for (name, seen) in before.iter().filter(|(name, _)| name.contains('.')) {
        assert_eq!(Some(seen), after.get(name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certbot_renews_nothing_of_ours_until_it_is_told_to_take_over() {
    let world = World::start().await;
    // Fresh for us, due for certbot, whose limit is 30 days.
    let lifetime = std::time::Duration::from_hours(20 * 24);
    world.production.set(|settings| settings.lifetime = lifetime);
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.settles().await;
    daemon.stop().await;
    let accounts = || world.production.faults().count("new-account");
    let before = accounts();
    let text = world.certbot_renew().await;
    assert!(text.contains("Certificate not yet due for renewal"), "{text}");
    assert!(text.contains("No renewals were attempted"), "{text}");
    assert_eq!(accounts(), before);
    // Without our line it goes to the authority of the certificate. (The sandbox knows no RSA account keys, so it
    // gets no further.)
    let path = world.store().join("renewal/a.example.com.conf");
    let conf = std::fs::read_to_string(&path).unwrap();
    assert!(conf.contains("autorenew = False\n"), "{conf}");
    std::fs::write(path, conf.replace("autorenew = False\n", "")).unwrap();
    let list = world.certbot(&["certificates"]).await;
    assert!(listed(&list).contains_key(A), "{list}");
    let text = world.certbot_renew().await;
    assert!(accounts() > before, "{text}");
    assert!(text.contains("1 renew failure(s), 0 parse failure(s)"), "{text}");
    assert_eq!(world.production.issued().len(), 1);
}
