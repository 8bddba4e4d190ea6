//! `renewal/<lineage>.conf`: what certbot needs to list a lineage, and to take over.

use std::path::Path;

use crate::core::bundle::KeyType;
use crate::core::names::Names;

/// What we read of a renewal file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// Directory URL of the authority.
    pub server: String,
    /// Whether `certbot renew` leaves it alone.
    pub is_off: bool,
}

impl Renewal {
    /// Reads a file of certbot's; none if it names no ACME server.
    pub fn parse(text: &str) -> Option<Self> {
        let value = |name| value(text, name);
        let server = value("server").filter(|server| server.starts_with("https://"))?;
        let is_off = value("autorenew").is_some_and(|value| value.eq_ignore_ascii_case("false"));
        Some(Self { server: server.to_owned(), is_off })
    }
}

/// The directory URL and the names that a file is made of, if it is one of [`render`]'s.
pub fn contents(text: &str) -> Option<(&str, Names)> {
    let (_, map) = text.split_once(MAP)?;
    let names = map.lines().filter_map(|line| line.split_once(" = ")?.0.parse().ok());
    Some((value(text, "server")?, Names::new(names)?))
}

const PARAMS: &str = "[renewalparams]";
const MAP: &str = "[[webroot_map]]\n";
const OFF: &str = "autorenew = False";

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    params(text)
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

/// The lines of the section `[renewalparams]`.
fn params(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .skip_while(|line| line.trim() != PARAMS)
        .skip(1)
        .take_while(|line| !line.trim_start().starts_with('['))
}

/// The same file with `autorenew` off and nothing else changed.
pub fn turned_off(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let Some(section) = lines.iter().position(|line| line.trim() == PARAMS) else {
        return text.to_owned();
    };
    let length = params(text).count();
    let present = (section + 1..=section + length)
        .find(|at| lines[*at].split_once('=').is_some_and(|(key, _)| key.trim() == "autorenew"));
    match present {
        Some(at) => lines[at] = OFF,
        None => lines.insert(section + 1, OFF),
    }
    lines.join("\n") + "\n"
}

/// A file for a lineage of ours.
pub fn render(
    root: &Path,
    webroot: &Path,
    lineage: &str,
    key_type: KeyType,
    server: &str,
    names: &Names,
) -> String {
    let key_type = match key_type {
        KeyType::Ec256 => "key_type = ecdsa",
        KeyType::Rsa2048 => "key_type = rsa\nrsa_key_size = 2048",
    };
    let live = root.join("live").join(lineage);
    let mut text = format!(
        "# Kept by rancher-lets-encrypt. To let certbot take over, stop the daemon and remove `autorenew`.\n\
         version = 2.1.0\n\
         archive_dir = {}\n",
        root.join("archive").join(lineage).display()
    );
    for (key, file) in
        [("cert", "cert"), ("privkey", "privkey"), ("chain", "chain"), ("fullchain", "fullchain")]
    {
        text += &format!("{key} = {}\n", live.join(format!("{file}.pem")).display());
    }
    text += &format!(
        "\n{PARAMS}\n{OFF}\nauthenticator = webroot\nwebroot_path = {0},\nserver = {server}\n{key_type}\n{MAP}",
        webroot.display()
    );
    for name in names.iter() {
        text += &format!("{name} = {}\n", webroot.display());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTBOTS: &str = "version = 1.12.0\narchive_dir = /etc/letsencrypt/archive/a\n\n# Options\n[renewalparams]\n\
        account = 0123\nserver = https://ca.test/directory\nauthenticator = webroot\n[[webroot_map]]\na.example.com = /var/www\n";

    #[test]
    fn what_certbot_wrote_is_read_and_only_autorenew_changes() {
        let read = Renewal::parse(CERTBOTS).unwrap();
        assert_eq!(read, Renewal { server: "https://ca.test/directory".to_owned(), is_off: false });
        let off = turned_off(CERTBOTS);
        assert_eq!(off.replace("autorenew = False\n", ""), CERTBOTS);
        assert!(Renewal::parse(&off).unwrap().is_off);
        assert_eq!(turned_off(&off), off);
        let on = off.replace("autorenew = False", "autorenew = True");
        assert_eq!(turned_off(&on), off);
    }

    #[test]
    fn what_names_no_acme_server_is_not_ours_to_take() {
        assert_eq!(Renewal::parse("server = https://ca.test/directory\n"), None);
        assert_eq!(
            Renewal::parse(
                "[renewalparams]\nauthenticator = manual\n[[server]]\nserver = https://x.test/d\n"
            ),
            None
        );
        assert_eq!(turned_off("nothing here\n"), "nothing here\n");
    }

    #[test]
    fn what_we_write_is_read_back() {
        let names =
            Names::new(["a.example.com".parse().unwrap(), "b.example.com".parse().unwrap()])
                .unwrap();
        let text = render(
            Path::new("/le"),
            Path::new("/www"),
            "a.example.com",
            KeyType::Rsa2048,
            "https://ca.test/directory",
            &names,
        );
        assert!(Renewal::parse(&text).unwrap().is_off);
        assert!(
            text.contains("\nkey_type = rsa\nrsa_key_size = 2048\n[[webroot_map]]\n"),
            "{text}"
        );
        assert!(
            text.contains("cert = /le/live/a.example.com/cert.pem\n")
                && text.contains("b.example.com = /www\n")
        );
        assert_eq!(contents(&text), Some(("https://ca.test/directory", names)));
    }
}
