//! Files that are laid into an environment with a network.

use std::fs;
use std::path::PathBuf;

use sandbox::ExecMode;

use crate::common::{World, copy_program, quiet, run};
use crate::kit::{CERTIFICATE, attacker, blocked, spec};

#[test]
fn an_image_keeps_its_bundle_and_cannot_lead_the_bind_astray() {
    let world = World::new();
    let tree = world.place.join("tree");
    for folder in ["usr", "etc/ssl/certs", "etc/pki/tls/certs", "bin"] {
        fs::create_dir_all(tree.join(folder)).unwrap();
    }
    fs::write(tree.join("etc/ssl/certs/ca-certificates.crt"), "image").unwrap();
    // A link to a folder that is not a system's, and one that leads nowhere.
    std::os::unix::fs::symlink("/work/bundle", tree.join("etc/pki/tls/certs/ca-bundle.crt"))
        .unwrap();
    std::os::unix::fs::symlink("/etc/absent", tree.join("etc/ssl/cert.pem")).unwrap();
    copy_program(
        attacker().to_str().unwrap(),
        &tree.join("bin/sandbox-attacker"),
    );
    sandbox::prepare_base(&tree).unwrap();
    let base = world.base(&[("bundle", "the task's own")]);
    let mut spec = spec(&world, "image", ExecMode::Off);
    spec.workspace.base = Some(base);
    spec.root.tree = Some(tree);
    spec.root.extra = ["/usr", "/lib", "/lib64"]
        .map(PathBuf::from)
        .into_iter()
        .filter(|path| path.is_dir())
        .collect();
    let environment = world.supervisor.create(&spec).unwrap();
    let mut cat = quiet("");
    cat.argv = [
        "/usr/bin/cat",
        "/etc/ssl/certs/ca-certificates.crt",
        "/work/bundle",
        "/etc/resolv.conf",
    ]
    .map(str::to_owned)
    .to_vec();
    let seen = run(&environment, cat).ok();
    let own = format!("image\n{CERTIFICATE}the task's ownnameserver 127.0.0.53\n");
    assert_eq!(seen, own);
    blocked(&environment, &["twins"]);
}
