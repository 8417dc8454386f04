//! nginx as a plain reverse proxy, which does nothing of what the gateway does.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

/// A running nginx, which ends with this.
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    _child: Child,
    _folder: tempfile::TempDir,
}

impl Nginx {
    /// Starts it, where there is one.
    pub(crate) async fn start(upstream: SocketAddr) -> Option<Self> {
        let folder = tempfile::tempdir().ok()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0").ok()?;
        let address = port.local_addr().ok()?;
        drop(port);
        let place = folder.path().display();
        let text = format!(
            "daemon off; worker_processes 2; pid {place}/pid; error_log {place}/error;\n\
             worker_rlimit_nofile 16384;\n\
             events {{ worker_connections 8192; }}\n\
             http {{ access_log off; client_body_temp_path {place}/b; proxy_temp_path {place}/p;\n\
             fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;\n\
             upstream up {{ server {upstream}; keepalive 256; }}\n\
             server {{ listen {address}; keepalive_requests 10000000;\n\
             location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_buffering off;\n\
             proxy_set_header Connection \"\"; proxy_read_timeout 600s; }} }} }}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, text).ok()?;
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Some(Self {
                    address,
                    _child: child,
                    _folder: folder,
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }
}
