use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use time::Duration;

use super::*;
use crate::core::certificate::tests::params;
use crate::core::certificate::tests::pems;
use crate::core::fingerprint::Fingerprint;

const NAME: &str = "a.example.com";

struct Place {
    folder: TempDir,
    host: Host,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new(folder.path().to_owned());
    Place { folder, host }
}

fn upload() -> Upload {
    let (chain, key) = pems(&params(&[NAME], Duration::ZERO, Duration::days(90)));
    let end = "-----END CERTIFICATE-----\n";
    let (leaf, rest) = chain.split_once(end).unwrap();
    Upload { certificate: format!("{leaf}{end}"), chain: rest.to_owned(), key: Secret::new(key) }
}

impl Place {
    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    async fn put(&self, replaces: Option<&Held>, upload: &Upload) -> Held {
        self.host.put(NAME, replaces, upload, None).await.unwrap()
    }

    async fn listed(&self) -> Vec<String> {
        let listed = self.host.list().await.unwrap();
        listed.into_iter().map(|held| held.name).collect()
    }

    fn versions(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path(VERSIONS)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn what_is_put_is_read_whole_through_one_link_and_the_version_before_stays() {
    let place = place();
    let (first, second, third) = (upload(), upload(), upload());
    let held = place.put(None, &first).await;
    assert_eq!(
        held.content.as_ref().ok(),
        CertificateChain::parse(&first.certificate, &first.chain).ok().as_ref()
    );
    assert_eq!(place.host.look(Which::Named(NAME)).await.unwrap(), Some(held.clone()));
    assert_eq!(fs::read_link(place.path(NAME)).unwrap(), Path::new(".versions/a.example.com-1"));
    let held = place.put(Some(&held), &second).await;
    assert_eq!(place.versions(), ["a.example.com-1", "a.example.com-2"]);
    place.put(Some(&held), &third).await;
    assert_eq!(place.versions(), ["a.example.com-2", "a.example.com-3"]);
    assert_eq!(place.listed().await, [NAME]);
    let key = place.path("a.example.com/privkey.pem");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let retrieved = place.host.retrieve(&NAME.into()).await.unwrap();
    assert_eq!(retrieved.chain, format!("{}{}", third.certificate, third.chain));
    assert_eq!(retrieved.key.unwrap().reveal(), third.key.reveal());
}

#[tokio::test]
async fn ownership_comes_back_and_what_is_no_record_of_it_is_none() {
    let place = place();
    let leaf = Fingerprint::of(&[b"leaf"]);
    let owner = Ownership { leaf, directory: "https://ca.test/directory".to_owned() };
    let held = place.host.put(NAME, None, &upload(), Some(&owner)).await.unwrap();
    assert_eq!(held.owner, Some(owner));
    for text in ["", "{}", "[1]", r#"{"leaf": "x", "directory": "y"}"#] {
        fs::write(place.path("a.example.com/ownership.json"), text).unwrap();
        assert_eq!(place.host.look(Which::Id(&held.id)).await.unwrap().unwrap().owner, None);
    }
}

#[tokio::test]
async fn what_has_changed_since_it_was_judged_is_a_conflict() {
    let place = place();
    let bought = upload();
    fs::create_dir(place.path(NAME)).unwrap();
    let is_conflict = |put| matches!(put, Err(DestinationError::Conflict(_)));
    assert!(is_conflict(place.host.put(NAME, None, &upload(), None).await));
    let empty = place.host.look(Which::Named(NAME)).await.unwrap().unwrap();
    assert!(empty.content.is_err());
    fs::write(place.path("a.example.com/fullchain.pem"), &bought.certificate).unwrap();
    assert!(is_conflict(place.host.put(NAME, Some(&empty), &upload(), None).await));
    assert_eq!(fs::read_dir(place.path(NAME)).unwrap().count(), 1);
}

#[tokio::test]
async fn a_folder_of_somebody_else_that_may_be_replaced_stays_aside() {
    let place = place();
    fs::create_dir(place.path(NAME)).unwrap();
    fs::write(place.path("a.example.com/fullchain.pem"), upload().certificate).unwrap();
    fs::write(place.path("a.example.com/notes"), "ask Ann").unwrap();
    let there = place.host.look(Which::Named(NAME)).await.unwrap();
    let own = upload();
    let held = place.put(there.as_ref(), &own).await;
    assert_eq!(
        held.content.as_ref().ok(),
        CertificateChain::parse(&own.certificate, &own.chain).ok().as_ref()
    );
    assert!(fs::symlink_metadata(place.path(NAME)).unwrap().is_symlink());
    place.put(Some(&held), &upload()).await;
    let aside = place.path(".versions/a.example.com-1.before/notes");
    assert_eq!(fs::read_to_string(aside).unwrap(), "ask Ann");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_no_empty_one() {
    let place = place();
    let host = Host::new(place.path("not-mounted"));
    let is_denied = |error| matches!(error, DestinationError::Denied(_));
    assert!(is_denied(host.list().await.unwrap_err()));
    assert!(is_denied(host.look(Which::Named(NAME)).await.unwrap_err()));
    assert!(is_denied(host.put(NAME, None, &upload(), None).await.unwrap_err()));
    // Nor does a name lead out of it.
    for name in ["", ".", "..", "../a", ".versions"] {
        let refused = place.host.put(name, None, &upload(), None).await.unwrap_err();
        assert!(matches!(refused, DestinationError::Refused(_)), "{name}");
        assert_eq!(place.host.look(Which::Named(name)).await.unwrap(), None);
    }
    assert!(place.listed().await.is_empty());
}

#[tokio::test]
async fn one_of_ours_that_lost_its_files_is_written_again() {
    let place = place();
    for lost in ["fullchain.pem", "privkey.pem"] {
        let there = place.host.look(Which::Named(NAME)).await.unwrap();
        place.put(there.as_ref(), &upload()).await;
        fs::remove_file(place.path(NAME).join(lost)).unwrap();
        assert_eq!(place.host.look(Which::Named(NAME)).await.unwrap(), None, "{lost}");
    }
    fs::remove_dir_all(place.path(VERSIONS)).unwrap();
    assert_eq!(place.host.look(Which::Named(NAME)).await.unwrap(), None);
    let held = place.put(None, &upload()).await;
    assert!(held.content.is_ok());
}

#[tokio::test]
async fn a_link_of_somebody_else_that_may_be_replaced_stays_aside() {
    let place = place();
    let bought = place.path(".bought");
    fs::create_dir(&bought).unwrap();
    symlink(&bought, place.path(NAME)).unwrap();
    let there = place.host.look(Which::Named(NAME)).await.unwrap();
    assert!(there.is_some());
    place.put(there.as_ref(), &upload()).await;
    assert_eq!(fs::read_link(place.path(".versions/a.example.com-1.before")).unwrap(), bought);
}

#[tokio::test]
async fn a_write_that_fails_leaves_no_key_behind() {
    let place = place();
    fs::create_dir_all(place.path(".versions/a.example.com.new")).unwrap();
    place.host.put(NAME, None, &upload(), None).await.unwrap_err();
    assert_eq!(place.versions(), ["a.example.com.new"]);
}

#[tokio::test]
async fn the_longest_names_have_versions_too() {
    let place = place();
    let label = "a".repeat(61);
    let name = format!("{label}.{label}.{label}.{label}.test");
    assert_eq!(name.len(), 252);
    let mut there = None;
    for _ in 0..12 {
        there = Some(place.host.put(&name, there.as_ref(), &upload(), None).await.unwrap());
    }
    assert_eq!(place.listed().await, [name]);
    assert_eq!(place.versions().len(), 2);
}

#[tokio::test]
async fn what_cannot_be_read_holds_up_no_other() {
    let place = place();
    place.put(None, &upload()).await;
    symlink("loop.test", place.path("loop.test")).unwrap();
    let listed = place.host.list().await.unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed[0].content.is_ok() && listed[1].content.is_err());
}
