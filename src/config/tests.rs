use std::collections::BTreeSet;

use super::*;

/// The files that the settings of a test name.
fn files(path: &Path) -> io::Result<Vec<u8>> {
    let authority = rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap();
    match path.to_str().unwrap() {
        "/roots.pem" => Ok(authority.cert.pem().into_bytes()),
        "/empty.pem" => Ok(b"nothing\n".to_vec()),
        "/broken.pem" => Ok(authority.cert.pem().replace("MII", "MIA").into_bytes()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn config(vars: &[(&str, &str)]) -> Result<Config, Faults> {
    config_with(vars, &files)
}

fn config_with(vars: &[(&str, &str)], read: ReadFile<'_>) -> Result<Config, Faults> {
    let rancher = [
        ("CATTLE_URL", "http://rancher.test:8080/v1"),
        ("CATTLE_ACCESS_KEY", "access"),
        ("CATTLE_SECRET_KEY", "very-secret"),
    ];
    let vars = rancher.iter().chain(vars);
    Config::from_vars(vars.map(|(name, value)| (name.into(), value.into())), read)
}

#[test]
fn every_fault_of_every_variable_is_listed_at_once_without_secrets() {
    let wrong: Vec<(&str, &str)> = vec![
        ("CATTLE_URL", "ftp://user:very-secret@x"),
        ("RANCHER_CA_FILE", "relative.pem"),
        ("RANCHER_PROXY", "socks5://someone:very-secret@proxy"),
        ("NOTIFY_CA_FILE", "relative.pem"),
        ("RANCHER_METADATA_URL", "metadata"),
        ("DYNAMIC_CONFIG", "maybe"),
        ("STAGING", "prod"),
        ("CERTBOT_EMAIL", "nobody"),
        ("KEY_TYPE", "rsa512"),
        ("RENEW_BEFORE_DAYS", "0"),
        ("LOOP_TIME", "0"),
        ("CERTBOT_WEBROOT", "www"),
        ("LETSENCRYPT_ROOTDIR", "le"),
        ("ACME_DIRECTORY", "http://insecure.test/directory"),
        ("ACME_STAGING_DIRECTORY", "x"),
        ("ACME_CA_FILE", "y"),
        ("CA_LIMITS", "some"),
        ("SELF_CHECK", "sometimes"),
        ("HOST_CHECK_PORT", "70000"),
        ("SELF_CHECK_ADDRESS", "a b"),
        ("CONNECT_TIMEOUT", "-1"),
        ("REPLACE_FOREIGN", "yes"),
        ("CONCURRENCY", "0"),
        ("LISTEN", "everywhere"),
        ("STATUS_HOSTS", "http://a"),
        ("NOTIFY_URL", "very-secret"),
        ("NOTIFY_FORMAT", "xml"),
        ("HEARTBEAT_URL", "very-secret"),
        ("LOG", "=="),
        ("LOG_FORMAT", "xml"),
    ];
    let faults = config(&wrong).unwrap_err();
    let named: Vec<_> = faults.0.iter().map(|fault| fault.name).collect();
    for (name, _) in &wrong {
        assert!(named.contains(name), "{name} is not among {named:?}");
    }
    assert_eq!(named.len(), wrong.len());
    assert!(!faults.to_string().contains("very-secret"), "{faults}");
}

#[test]
fn what_rancher_gives_is_asked_for_with_its_labels() {
    let missing = Config::from_vars([], &files).unwrap_err();
    let named: Vec<_> = missing.0.iter().map(|fault| fault.name).collect();
    assert_eq!(named, ["CATTLE_URL", "CATTLE_ACCESS_KEY", "CATTLE_SECRET_KEY"]);
    let text = missing.to_string();
    assert!(text.contains("io.rancher.container.agent.role"), "{text}");
    assert!(!text.contains("localhost"), "{text}");
    // Rancher gives no address where the host was registered through `localhost`, but the scheme.
    let scheme = [("CATTLE_CONFIG_URL_SCHEME".into(), "http".into())];
    let missing = Config::from_vars(scheme, &files).unwrap_err();
    assert!(missing.0[0].accepted.contains("through `localhost`"));
}

#[test]
fn what_is_read_besides_is_told_by_the_table() {
    for name in table::ALSO_READ.iter().filter(|name| name.ends_with("KEY")) {
        let is_told = |setting: &Setting| {
            setting.meaning.contains(name) || setting.name == name.replace("_ENVIRONMENT", "")
        };
        assert!(SETTINGS.iter().any(is_told), "{name}");
    }
}

#[test]
fn a_secret_says_that_it_is_one_and_is_never_shown() {
    for setting in SETTINGS {
        let is_told = setting.injected || setting.meaning.ends_with("it is a secret");
        if !setting.kind.is_secret() {
            assert!(setting.injected || !is_told, "{}", setting.name);
            continue;
        }
        assert!(is_told, "{}", setting.name);
        let config = config(&[(setting.name, "https://hooks.test/very-secret")]).unwrap();
        let shown = format!("{config:?} {:?}", config.in_force());
        assert!(!shown.contains("very-secret"), "{shown}");
        let row = config.in_force().into_iter().find(|(name, _)| *name == setting.name);
        assert_eq!(row.unwrap().1, "set");
    }
}

#[test]
fn every_default_in_the_table_is_the_one_that_holds() {
    let empty: Vec<_> = SETTINGS
        .iter()
        .filter(|setting| !setting.injected)
        .map(|setting| (setting.name, " "))
        .collect();
    let unset = format!("{:?}", config(&[]).unwrap());
    assert_eq!(format!("{:?}", config(&empty).unwrap()), unset);
    // What each does when it is set to something else, so that none can be forgotten.
    let others = [
        ("CERTIFICATES_DIR", "/certificates"),
        ("RANCHER_CA_FILE", "/roots.pem"),
        ("RANCHER_METADATA_URL", "http://metadata.test"),
        ("DOMAINS", "a.example.com"),
        ("DYNAMIC_CONFIG", "no"),
        ("STAGING", "no"),
        ("CERTBOT_EMAIL", "ops@example.com"),
        ("EMAIL", "ops@example.com"),
        ("KEY_TYPE", "rsa2048"),
        ("RENEW_BEFORE_DAYS", "7"),
        ("LOOP_TIME", "301"),
        ("CERTBOT_WEBROOT", "/www"),
        ("LETSENCRYPT_ROOTDIR", "/le"),
        ("ACME_DIRECTORY", "https://ca.test/directory"),
        ("ACME_STAGING_DIRECTORY", "https://ca.test/directory"),
        ("ACME_CA_FILE", "/roots.pem"),
        ("CA_LIMITS", "none"),
        ("SELF_CHECK", "off"),
        ("HOST_CHECK_PORT", "81"),
        ("SELF_CHECK_ADDRESS", "127.0.0.1"),
        ("CONNECT_TIMEOUT", "11"),
        ("REPLACE_FOREIGN", "never"),
        ("CONCURRENCY", "9"),
        ("LISTEN", "off"),
        ("STATUS_HOSTS", "Certs.example.com., b"),
        ("RANCHER_PROXY", "http://proxy.test:3128"),
        ("NOTIFY_URL", "http://hooks.test"),
        ("NOTIFY_FORMAT", "text"),
        ("NOTIFY_CA_FILE", "/roots.pem"),
        ("HEARTBEAT_URL", "http://hooks.test"),
        ("LOG", "debug"),
        ("RUST_LOG", "debug"),
        ("LOG_FORMAT", "json"),
    ];
    for Setting { name, default, .. } in SETTINGS.iter().filter(|setting| !setting.injected) {
        let set = |value: &str| format!("{:?}", config(&[(name, value)]).unwrap());
        let value = match (*default, *name) {
            (_, "ACME_DIRECTORY") => table::LETS_ENCRYPT,
            (_, "ACME_STAGING_DIRECTORY") => table::LETS_ENCRYPT_STAGING,
            ("-" | "empty" | "automatic", _) => "",
            _ => default.trim_matches('`'),
        };
        assert_eq!(set(value), unset, "{name}");
        let other = others.iter().find(|(other, _)| other == name);
        match other {
            Some((_, other)) => assert_ne!(set(other), unset, "{name}"),
            // Read, checked and not kept yet; or of no use alone.
            None => assert!(["NOTIFY_FORMAT", "DESTINATION"].contains(name), "{name}"),
        }
    }
    let config = config(&[]).unwrap();
    assert_eq!((config.rancher_ca, config.acme_ca), (None, None));
    assert_eq!((config.email, config.renew_before), (None, None));
    assert_eq!((config.domains, config.self_check_address), (vec![], None));
}

#[test]
fn a_host_needs_a_folder_and_nothing_of_rancher() {
    let read = |vars: &[(&str, &str)]| {
        let vars = vars.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Config::from_vars(vars.collect::<Vec<_>>(), &files)
    };
    let host = read(&[("DESTINATION", "host"), ("CERTIFICATES_DIR", "/certificates")]).unwrap();
    assert_eq!(host.delivery, Delivery::Host("/certificates".into()));
    assert!(!host.reads_labels && host.notes.is_empty());
    let in_force = host.in_force();
    assert!(in_force.contains(&("CERTIFICATES_DIR", "/certificates".to_owned())));
    assert!(in_force.contains(&("CATTLE_URL", "-".to_owned())));
    for (vars, name) in [
        (&[("DESTINATION", "host")][..], "CERTIFICATES_DIR"),
        (&[("DESTINATION", "host"), ("CERTIFICATES_DIR", "here")], "CERTIFICATES_DIR"),
        (&[("DESTINATION", "nowhere")], "DESTINATION"),
    ] {
        let faults = read(vars).unwrap_err();
        assert!(faults.0.iter().any(|fault| fault.name == name), "{faults}");
    }
    assert_eq!(config(&[]).unwrap().delivery, Delivery::Rancher);
}

#[test]
fn a_variable_that_is_not_text_is_a_fault_with_all_others() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = || OsString::from_vec(b"\xffvery-secret".to_vec());
    let all = SETTINGS.iter().map(|setting| setting.name);
    for name in all.chain(table::ALSO_READ.iter().copied()) {
        let vars = [
            (OsString::from(name), bytes()),
            (OsString::from("OTHER"), bytes()),
            (OsString::from_vec(vec![0xff]), bytes()),
        ];
        let others = [("CATTLE_URL", "http://r.test"), ("STAGING", "x"), ("LOOP_TIME", "x")];
        let others = others.map(|(name, value)| (name.into(), value.into()));
        let others = others.into_iter().filter(|(other, _)| other != name);
        let faults = Config::from_vars(vars.into_iter().chain(others), &files).unwrap_err();
        let told: Vec<_> = faults.0.iter().filter(|fault| fault.name == name).collect();
        assert_eq!(told.len(), 1, "{faults}");
        assert!(told[0].accepted.contains("UTF-8"), "{faults}");
        assert!(faults.to_string().contains("LOOP_TIME"), "{faults}");
        assert!(!faults.to_string().contains("very-secret"), "{faults}");
    }
}

#[test]
fn files_of_roots_that_cannot_be_used_are_told_with_all_other_faults() {
    for (file, said) in [
        ("/missing.pem", "not found"),
        ("/empty.pem", "no certificate"),
        ("/broken.pem", "certificate 1"),
    ] {
        let wrong = [("RANCHER_CA_FILE", file), ("ACME_CA_FILE", file), ("STAGING", "prod")];
        let faults = config(&wrong).unwrap_err();
        let named: BTreeSet<_> = faults.0.iter().map(|fault| fault.name).collect();
        assert_eq!(named, wrong.map(|(name, _)| name).into());
        for fault in faults.0.iter().filter(|fault| fault.name != "STAGING") {
            assert_eq!(fault.value.as_deref(), Some(file));
            assert!(fault.accepted.contains(said), "{fault}");
        }
    }
    let config = config(&[("ACME_CA_FILE", "/roots.pem")]).unwrap();
    assert!(config.acme_ca.is_some() && config.rancher_ca.is_none());
}

#[test]
fn ranchers_own_ca_file_is_used_when_it_exists_and_is_good() {
    let own = |path: &Path, content: &str| {
        if path == Path::new("/var/lib/rancher/etc/ssl/ca.crt") {
            files(Path::new(content))
        } else {
            files(path)
        }
    };
    let with = |content: &'static str, vars: &[(&str, &str)]| {
        config_with(vars, &move |path: &Path| own(path, content)).unwrap()
    };
    let used = with("/roots.pem", &[]);
    assert!(used.rancher_ca.is_some() && used.acme_ca.is_none());
    assert_eq!(used.notes, [""; 0]);
    // It is no setting of anybody's: nothing ends because of it, and no variable is blamed.
    let unused = with("/empty.pem", &[]);
    assert_eq!(unused.rancher_ca, None);
    assert!(unused.notes[0].starts_with("/var/lib/rancher/etc/ssl/ca.crt is not used"));
    let other = with("/empty.pem", &[("RANCHER_CA_FILE", "/roots.pem")]);
    assert!(other.rancher_ca.is_some() && other.notes.is_empty());
    let row = SETTINGS.iter().find(|setting| setting.name == "RANCHER_CA_FILE");
    assert!(row.unwrap().meaning.contains(table::RANCHER_CA));
}

#[test]
fn booleans_are_read_in_any_case_and_two_roles_win() {
    for (text, is_staging) in
        [("False", false), ("no", false), ("0", false), ("TRUE", true), ("Yes", true)]
    {
        assert_eq!(config(&[("STAGING", text)]).unwrap().is_staging, is_staging, "{text}");
    }
    let two = [("CATTLE_ENVIRONMENT_ACCESS_KEY", "a2"), ("CATTLE_ENVIRONMENT_SECRET_KEY", "s2")];
    let config = config(&two).unwrap();
    assert_eq!(config.rancher_access_key.reveal(), "a2");
    assert_eq!(config.rancher_secret_key.reveal(), "s2");
    assert!(!format!("{config:?}").contains("s2"));
}

#[test]
fn a_variable_in_small_letters_is_read_unless_the_other_is_set() {
    assert!(!config(&[("staging", "False")]).unwrap().is_staging);
    assert!(config(&[("staging", "False"), ("STAGING", "True")]).unwrap().is_staging);
}

#[test]
fn ancestors_variables_are_accepted_with_a_note_each() {
    let vars: Vec<_> = ANCESTORS.iter().map(|(name, _)| (*name, "x")).collect();
    let notes = config(&vars).unwrap().notes;
    assert_eq!(notes.len(), ANCESTORS.len());
}

#[test]
fn settings_in_force_are_all_shown_and_secrets_only_as_set() {
    let given = [
        ("NOTIFY_URL", "https://hooks.test/very-secret"),
        ("HEARTBEAT_URL", "https://beat.test/very-secret"),
    ];
    let in_force = config(&given).unwrap().in_force();
    let shown: Vec<&str> = in_force.iter().map(|(name, _)| *name).collect();
    let own = SETTINGS.iter().filter(|setting| !matches!(setting.kind, Kind::Same(_)));
    assert_eq!(shown, own.map(|setting| setting.name).collect::<Vec<_>>());
    let text = format!("{in_force:?}");
    assert!(!text.contains("very-secret"), "{text}");
    assert!(text.contains(r#"("NOTIFY_URL", "set")"#), "{text}");
}

#[test]
fn a_proxy_is_shown_without_its_password() {
    let named = [("RANCHER_PROXY", "http://someone:very-secret@proxy.test:3128")];
    let config = config(&named).unwrap();
    let shown = format!("{config:?} {:?}", config.in_force());
    assert!(shown.contains("http://proxy.test:3128") && !shown.contains("very-secret"), "{shown}");
}

#[test]
fn hosts_of_the_status_page_are_names() {
    let hosts = |text: &str| config(&[("STATUS_HOSTS", text)]).map(|config| config.status_hosts);
    assert_eq!(hosts("Certs.example.com., b").unwrap(), ["certs.example.com", "b"]);
    for wrong in ["a:8080", "http://a", "ä", ","] {
        assert!(hosts(wrong).is_err(), "{wrong}");
    }
}
