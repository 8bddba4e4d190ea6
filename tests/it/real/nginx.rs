//! Debian's nginx in the configuration of the image `nginx:alpine`, on the webroot.

use std::net::Ipv4Addr;
use std::path::Path;
use std::path::PathBuf;

use sandbox::parts::part::Part;
use sandbox::parts::part::program;
use sandbox::parts::port::Port;

/// A running nginx.
pub(crate) struct Nginx {
    port: Port,
    folder: PathBuf,
    part: Option<Part>,
}

impl Nginx {
    /// Starts on a webroot, with its own files in a folder of its own.
    pub(crate) async fn start(webroot: &Path, folder: PathBuf) -> Self {
        Self::start_on(Port::claim(), webroot, folder).await
    }

    pub(crate) async fn start_on(port: Port, webroot: &Path, folder: PathBuf) -> Self {
        std::fs::create_dir(&folder).unwrap();
        let config = config(port.number(), webroot, &folder);
        std::fs::write(folder.join("nginx.conf"), config).unwrap();
        let mut nginx = Self { port, folder, part: None };
        nginx.begin().await;
        nginx
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// Ends it; its port refuses connections.
    pub(crate) async fn stop(&mut self) {
        if let Some(mut part) = self.part.take() {
            part.kill().await;
        }
    }

    /// Starts it again.
    pub(crate) async fn begin(&mut self) {
        let mut command = program("nginx");
        command.args(["-e", "stderr", "-g", "daemon off;", "-p"]);
        command.arg(&self.folder).arg("-c");
        command.arg(self.folder.join("nginx.conf"));
        let mut part = Part::start("nginx", command);
        part.listens((Ipv4Addr::LOCALHOST, self.port()).into()).await;
        self.part = Some(part);
    }
}

/// Whether there is somebody else to work for root: not where an ordinary user is called root, in a user namespace.
fn has_others() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    rustix::process::geteuid().is_root() && map.trim_end().ends_with(&u32::MAX.to_string())
}

/// What the image has, but for the port and the places of files. Workers are another user than root, so that the
/// modes of the challenge files matter; whoever is not root has workers of his own.
fn config(port: u16, webroot: &Path, folder: &Path) -> String {
    let user = match (has_others(), rustix::process::geteuid().is_root()) {
        (true, _) => "user nobody nogroup;",
        (false, true) => "user root root;",
        (false, false) => "",
    };
    let (webroot, folder) = (webroot.display(), folder.display());
    format!(
        "{user}
worker_processes auto;
error_log stderr notice;
pid {folder}/nginx.pid;
events {{
    worker_connections 1024;
}}
http {{
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log /dev/stdout;
    sendfile on;
    keepalive_timeout 65;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        server_name localhost;
        location / {{
            root {webroot};
            index index.html index.htm;
        }}
        error_page 500 502 503 504 /50x.html;
        location = /50x.html {{
            root {webroot};
        }}
    }}
}}
"
    )
}
