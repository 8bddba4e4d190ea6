//! Certbot on the same store and webroot.

use std::path::Path;
use std::path::PathBuf;

use sandbox::parts::part::program;
use sandbox::parts::part::run;

/// Certbot with a store.
pub(crate) struct Certbot {
    pub(crate) store: PathBuf,
    pub(crate) webroot: PathBuf,
    /// Where it keeps what is in nobody's way.
    pub(crate) work: PathBuf,
    /// Roots to trust for the directory's TLS.
    pub(crate) roots: PathBuf,
}

impl Certbot {
    /// Gets a certificate by its own webroot plugin.
    pub(crate) async fn obtain(&self, directory: &str, names: &[&str]) -> String {
        let webroot = self.webroot.to_str().unwrap();
        let mut args = vec!["certonly", "--server", directory, "--webroot", "-w", webroot];
        args.extend(["--agree-tos", "--register-unsafely-without-email"]);
        args.extend(names.iter().flat_map(|name| ["-d", name]));
        self.run(&args).await
    }

    /// What it says about its certificates.
    pub(crate) async fn certificates(&self) -> String {
        self.run(&["certificates"]).await
    }

    /// Renews what is due, and says so.
    pub(crate) async fn renew(&self) -> String {
        let args = ["renew", "--no-random-sleep-on-renew", "--agree-tos"];
        self.run(&[&args[..], &["--register-unsafely-without-email"]].concat()).await
    }

    async fn run(&self, args: &[&str]) -> String {
        let mut command = program("certbot");
        let folder = |name: &str| self.work.join(name);
        let folders: [(&str, &Path); 3] = [
            ("--config-dir", &self.store),
            ("--work-dir", &folder("work")),
            ("--logs-dir", &folder("log")),
        ];
        command.env("REQUESTS_CA_BUNDLE", &self.roots);
        command.args(args).arg("--non-interactive");
        for (name, folder) in folders {
            command.arg(name).arg(folder);
        }
        run(command).await
    }
}
