//! Trees as certbot 2.1 leaves them, keys of kinds that the sandbox does not make, and what lies in a folder.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use sandbox::certs::CertificateAuthority;
use sandbox::certs::LeafContent;
use sandbox::certs::Pair;
use sandbox::certs::Subject;
use time::Duration;
use time::OffsetDateTime;

const FILES: [&str; 4] = ["cert", "chain", "fullchain", "privkey"];

#[expect(clippy::disallowed_methods, reason = "certificates of tests are about the real time")]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// A certificate of a public authority, issued ten days ago, that is valid for so many more days.
pub(crate) fn issued_before(names: &[&str], days_left: i64) -> Pair {
    authority().pair(&content(names, days_left))
}

/// A certificate of a public authority, issued two hours ago for ninety days.
pub(crate) fn issued_today(names: &[&str]) -> Pair {
    let begun = now() - Duration::hours(2);
    authority().pair(&LeafContent::new(names, begun, begun + Duration::days(90)))
}

/// The same with a key that openssl makes, in the form that it has there.
pub(crate) fn issued_for_key(names: &[&str], days_left: i64, key_pem: String) -> Pair {
    let public = openssl(&["pkey", "-pubout"], &key_pem);
    let public = rcgen::SubjectPublicKeyInfo::from_pem(&public).unwrap();
    let authority = authority();
    Pair {
        cert_pem: authority.issue(&content(names, days_left), &public).pem(),
        chain_pem: authority.chain_pem(),
        key_pem,
    }
}

fn authority() -> CertificateAuthority {
    let name = |common_name| Subject::new("Tree Trust", common_name);
    CertificateAuthority::new(&name("Tree Root"), &[name("Tree E1")])
}

fn content(names: &[&str], days_left: i64) -> LeafContent {
    let now = now();
    let begun = now - Duration::days(10).min(Duration::days(90 - days_left).max(Duration::HOUR));
    LeafContent::new(names, begun, now + Duration::days(days_left))
}

/// Runs openssl with a text as input.
pub(crate) fn openssl(arguments: &[&str], input: &str) -> String {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The renewal file that certbot 2.1 writes, without our line.
pub(crate) fn renewal_conf(root: &Path, lineage: &str, server: &str, names: &[&str]) -> String {
    let root = root.display();
    let mut text = format!(
        "# renew_before_expiry = 30 days\nversion = 2.1.0\narchive_dir = {root}/archive/{lineage}\n"
    );
    for file in ["cert", "privkey", "chain", "fullchain"] {
        text += &format!("{file} = {root}/live/{lineage}/{file}.pem\n");
    }
    text += "\n# Options used in the renewal process\n[renewalparams]\n";
    text += "account = 0123456789abcdef0123456789abcdef\nauthenticator = webroot\nwebroot_path = /var/www,\n";
    text += &format!("server = {server}\nkey_type = ecdsa\n[[webroot_map]]\n");
    for name in names {
        text += &format!("{name} = /var/www\n");
    }
    text
}

/// Lays a lineage with its versions, the last of which is live.
pub(crate) fn lay(root: &Path, lineage: &str, conf: &str, versions: &[Pair]) {
    for folder in ["archive", "live"] {
        std::fs::create_dir_all(root.join(folder).join(lineage)).unwrap();
    }
    for (number, pair) in (1..).zip(versions) {
        let contents = [
            pair.cert_pem.clone(),
            pair.chain_pem.clone(),
            pair.full_chain_pem(),
            pair.key_pem.clone(),
        ];
        for (file, content) in FILES.iter().zip(contents) {
            let archived = format!("archive/{lineage}/{file}{number}.pem");
            std::fs::write(root.join(&archived), content).unwrap();
            let link = root.join(format!("live/{lineage}/{file}.pem"));
            drop(std::fs::remove_file(&link));
            symlink(format!("../../{archived}"), link).unwrap();
        }
    }
    std::fs::write(root.join("live/README"), "certbot's own\n").unwrap();
    std::fs::create_dir_all(root.join("renewal")).unwrap();
    std::fs::write(root.join(format!("renewal/{lineage}.conf")), conf).unwrap();
}

/// Every file, folder and link below a folder, with what changes whenever it is written.
pub(crate) fn contents(root: &Path) -> BTreeMap<String, (u64, u64, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            let seen = (metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec());
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            found.insert(name.to_owned(), seen);
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

/// Puts a folder in the place of a file, which even root cannot read then. Answers what undoes it.
pub(crate) fn block(path: &Path) -> impl FnOnce() + use<> {
    let (path, away) = (path.to_owned(), path.with_extension("away"));
    std::fs::rename(&path, &away).unwrap();
    std::fs::create_dir(&path).unwrap();
    move || {
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(&away, &path).unwrap();
    }
}
