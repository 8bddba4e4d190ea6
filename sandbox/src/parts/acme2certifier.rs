//! acme2certifier as an authority: a Python program before a CA of files, whose accounts must have a contact.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use crate::certs::CertificateAuthority;
use crate::parts::foreign;
use crate::parts::part::Part;
use crate::parts::part::program;
use crate::parts::part::program_at;
use crate::parts::part::run;
use crate::parts::port::Port;

/// A running acme2certifier. It fetches HTTP-01 from port 80; what it issues lives for a day.
pub struct Acme2certifier {
    folder: PathBuf,
    port: Port,
    _part: Part,
}

impl Acme2certifier {
    /// Starts one with its files in a folder of its own; `tls` makes the certificate of its web server.
    pub async fn start(folder: PathBuf, dns: SocketAddr, tls: &CertificateAuthority) -> Self {
        for name in ["issued", "tmp"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        foreign::write_pair(tls, &folder);
        make_ca(&folder).await;
        let port = Port::claim();
        let address = format!("127.0.0.1:{}", port.number());
        std::fs::write(folder.join("acme_srv.cfg"), config(&folder, dns)).unwrap();
        let mut command = program_at(&foreign::script("python"));
        command.current_dir(&folder).env("HOME", &folder);
        command.env("PATH", "/usr/bin:/bin").env("PYTHONUNBUFFERED", "1");
        command.env("ACME_SRV_CONFIGFILE", folder.join("acme_srv.cfg"));
        command.args(["-m", "gunicorn", "--workers", "1", "--threads", "8"]);
        command.args(["--certfile", "cert.pem", "--keyfile", "key.pem"]);
        command.args(["--worker-tmp-dir", "tmp", "--bind", &address]);
        command.arg("acme2certifier.share.acme2certifier_wsgi:application");
        let mut part = Part::start("acme2certifier", command);
        part.listens((Ipv4Addr::LOCALHOST, port.number()).into()).await;
        // The port is open before there is anybody to answer.
        part.says("Using DB handler").await;
        Self { folder, port, _part: part }
    }

    /// Its directory.
    pub fn directory_url(&self) -> String {
        format!("https://127.0.0.1:{}/directory", self.port.number())
    }

    /// How many certificates it has signed.
    pub fn issued(&self) -> usize {
        std::fs::read_dir(self.folder.join("issued")).unwrap().count()
    }

    /// Its backend cannot sign any more, until [`Self::mend`].
    pub fn break_backend(&self) {
        std::fs::rename(self.key("ca-key.pem"), self.key("ca-key.gone")).unwrap();
    }

    /// The backend signs again.
    pub fn mend(&self) {
        std::fs::rename(self.key("ca-key.gone"), self.key("ca-key.pem")).unwrap();
    }

    fn key(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Key and certificate of what signs.
async fn make_ca(folder: &Path) {
    let mut command = program("openssl");
    command.args(["req", "-x509", "-nodes", "-newkey", "ec", "-days", "10"]);
    command.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=Foreign Root"]);
    command.arg("-keyout").arg(folder.join("ca-key.pem"));
    command.arg("-out").arg(folder.join("ca-cert.pem"));
    drop(run(command).await);
}

fn config(folder: &Path, dns: SocketAddr) -> String {
    let (folder, dns) = (folder.display(), dns.ip());
    // It wants the path of a list of revoked ones, which need not be there.
    format!(
        "[DEFAULT]
debug: False
dns_server_list: [\"{dns}\"]
[CAhandler]
handler_module: acme2certifier.cahandlers.openssl_ca_handler
issuing_ca_key: {folder}/ca-key.pem
issuing_ca_cert: {folder}/ca-cert.pem
issuing_ca_crl: {folder}/crl.pem
cert_save_path: {folder}/issued
cert_validity_days: 1
[DBhandler]
handler_module: acme2certifier.dbhandlers.wsgi_handler
dbfile: {folder}/acme.db
"
    )
}
