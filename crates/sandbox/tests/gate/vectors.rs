//! The ways that lead to execution, each with content that a rule refuses.

use std::path::Path;

use sandbox::{Environment, ExecMode};

use crate::common::{World, sh};
use crate::kit::{base, can_gate, create, denials, events_until, policy};

/// A script that must not get any of the refused content to run. It has `$L`, the dynamic loader.
fn refused(environment: &Environment, way: &str, script: &str) {
    let setup =
        "L=$(ls /lib64/ld-linux-x86-64.so.2 /lib/ld-linux-aarch64.so.1 2>/dev/null | head -n1); ";
    let ran = sh(environment, &format!("{setup}{script}"));
    assert!(!ran.out.contains("RAN"), "{way}: {ran:?}");
    let friend = sh(environment, "./friend");
    assert_eq!(friend.out, "friend\n", "after {way}: {friend:?}");
}

fn ways(environment: &Environment) {
    for (way, script) in [
        ("direct", "./tool; ./tool.sh"),
        ("renamed", "mv tool x; ./x; mv x tool"),
        ("copied", "cp tool copy; ./copy; rm -f copy"),
        (
            "read",
            "cat tool >copy; chmod +x copy; ./copy; rm -f copy; grep -c RAN tool",
        ),
        (
            "moved to another folder",
            "mkdir -p d; mv tool d/; d/tool; cd d; ./tool; cd ..; mv d/tool .",
        ),
        (
            "through fourteen links",
            "p=tool; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do ln -s $p l$i; p=l$i; done; ./l14; rm l*",
        ),
        ("through a hard link", "ln tool hard; ./hard; rm hard"),
        (
            "through /proc",
            "/proc/self/root/work/tool; /proc/1/root/work/tool; /proc/self/cwd/tool",
        ),
        (
            "through a descriptor",
            "exec 7<tool; /proc/self/fd/7; /dev/fd/7",
        ),
        (
            "by the dynamic loader",
            "$L ./tool; $L /work/tool; cp tool /tmp/t && $L /tmp/t",
        ),
        (
            "as a preloaded library",
            "LD_PRELOAD=./tool.so ./friend; LD_AUDIT=./tool.so ./friend",
        ),
        (
            "as a library of the library path",
            "mkdir -p lib; ln tool.so lib/libc.so.6; LD_LIBRARY_PATH=lib ./friend; rm -r lib",
        ),
        (
            "as a script to its interpreter",
            "sh tool.sh; sh <tool.sh; cat tool.sh | sh; . ./tool.sh",
        ),
        (
            "by another program",
            "env ./tool; find . -name tool -exec {} \\; ; xargs -a /dev/null ./tool; nice ./tool; timeout 5 ./tool",
        ),
        (
            "in scratch space",
            "cp tool /tmp/x; /tmp/x; cp tool /dev/shm/x; /dev/shm/x; cp tool ~/x; ~/x",
        ),
        (
            "as the interpreter of a script",
            "printf '#!/work/tool\\n' >s; chmod +x s; ./s; rm s",
        ),
        (
            "in the outgoing folder",
            "cp tool /nightcrew/out/x; /nightcrew/out/x",
        ),
    ] {
        refused(environment, way, script);
    }
}

const PYTHON: &[(&str, &str)] = &[
    (
        "by execveat on a path descriptor",
        "import ctypes,os\nfd=os.open('tool',os.O_PATH)\nl=ctypes.CDLL(None)\n\
         a=(ctypes.c_char_p*2)(b'tool',None)\nl.syscall(322,fd,b'',a,None,0x1000)\nos.execv(f'/proc/self/fd/{fd}',['tool'])",
    ),
    (
        "mapped to be executed",
        "import mmap\nf=open('tool','rb')\nm=mmap.mmap(f.fileno(),0,prot=mmap.PROT_READ|mmap.PROT_EXEC,flags=mmap.MAP_PRIVATE)\nprint('RAN',len(m))",
    ),
    (
        "in a memory file",
        "import os\nfd=os.memfd_create('x')\nos.write(fd,open('tool','rb').read())\nos.execv(f'/proc/self/fd/{fd}',['tool'])",
    ),
    ("loaded", "import ctypes\nctypes.CDLL('./tool.so')"),
];

fn python(environment: &Environment) {
    for (way, script) in PYTHON {
        let quoted = script.replace('\'', "'\\''");
        refused(environment, way, &format!("python3 -c '{quoted}'"));
    }
}

/// Content that comes from outside, a byte at a time as it were: it is on no file that was judged.
fn smuggled(environment: &Environment, tool: &Path, script: &Path) {
    use std::io::Write;
    for (content, way) in [
        (
            tool,
            "cat >in; chmod +x in; ./in; $(ls /lib64/ld-linux-x86-64.so.2) ./in; mv in /tmp/in; /tmp/in",
        ),
        (script, "cat >in; chmod +x in; ./in; sh in; sh <in"),
    ] {
        let mut step = crate::common::quiet(way);
        let (read, mut write) = std::io::pipe().unwrap();
        step.stdin = Some(read.into());
        let content = std::fs::read(content).unwrap();
        let sender = std::thread::spawn(move || write.write_all(&content));
        let ran = crate::common::run(environment, step);
        sender.join().unwrap().unwrap();
        assert!(!ran.out.contains("RAN"), "{ran:?}");
    }
}

fn all(mode: ExecMode, with_base: bool) {
    let world = World::new();
    let base = base(&world);
    let outputs = world.place.join("outputs");
    std::fs::create_dir(&outputs).unwrap();
    let mut rules = denials(&base);
    if mode >= ExecMode::AllowList {
        let friend = sandbox::ExecTarget::Digest(crate::kit::digest(base.join("friend")));
        rules.push(crate::kit::rule(sandbox::RuleVerdict::Allow, friend));
    }
    let mut spec = world.spec("ways", with_base.then_some(base.as_path()));
    if !with_base {
        // A folder of the host as it is, without an overlay.
        let upper = spec.workspace.layer.join("upper");
        std::fs::create_dir_all(&upper).unwrap();
        for name in ["tool", "tool.so", "tool.sh", "friend"] {
            let status = std::process::Command::new("cp")
                .arg(base.join(name))
                .arg(&upper)
                .status();
            assert!(status.unwrap().success());
        }
        sandbox::prepare_base(&spec.workspace.layer).unwrap();
    }
    spec.outputs = Some(outputs);
    spec.exec = policy(mode, rules);
    let environment = world.supervisor.create(&spec).expect("an environment");
    ways(&environment);
    python(&environment);
    smuggled(&environment, &base.join("tool"), &base.join("tool.sh"));
    let events = events_until(&environment, |event| {
        event.denied && event.path == "/work/tool"
    });
    let direct = events
        .iter()
        .find(|event| event.denied && event.path == "/work/tool")
        .unwrap_or_else(|| panic!("{events:?}"));
    assert_eq!(direct.environment, "ways");
    assert_eq!(direct.digest, Some(crate::kit::digest(base.join("tool"))));
    assert!(direct.rule.contains("use the other one"), "{direct:?}");
    assert_eq!(
        direct.processes.last().map(|(id, _)| *id),
        Some(1),
        "{direct:?}"
    );
}

#[test]
fn denied_content_runs_by_no_way_over_a_base() {
    if can_gate() {
        all(ExecMode::DenyList, true);
    }
}

#[test]
fn denied_content_runs_by_no_way_in_a_plain_folder() {
    if can_gate() {
        all(ExecMode::DenyList, false);
    }
}

#[test]
fn denied_content_runs_by_no_way_where_only_known_content_does() {
    if can_gate() {
        all(ExecMode::AllowList, true);
    }
}

/// The program changes between the judgement and the execution, in every way a file can change.
#[test]
fn only_the_bytes_that_were_judged_execute() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let base = base(&world);
    // Of the same size as the refused one, so that one can be written over the other in place.
    let tool = std::fs::read(base.join("tool")).unwrap();
    let word = tool
        .windows(8)
        .position(|part| part == b"RAN tool")
        .unwrap();
    let mut other = tool;
    other[word..word + 8].copy_from_slice(b"harmless");
    std::fs::write(base.join("other"), other).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(base.join("other"), mode).unwrap();
    sandbox::prepare_base(&base).unwrap();
    let environment = create(
        &world,
        "bytes",
        Some(&base),
        policy(ExecMode::DenyList, denials(&base)),
    );
    let script = format!(
        "import mmap,os,subprocess,sys\nat={word}\n\
         def run(p):\n  try: return subprocess.run([p],capture_output=True).stdout\n  except OSError as e: return str(e).encode()\n\
         def fresh(d):\n  p=d+'/prog'\n  if os.path.exists(p): os.unlink(p)\n  open(p,'wb').write(open('other','rb').read()); os.chmod(p,0o755); return p\n\
         for d in ('/work','/tmp'):\n\
         \x20 p=fresh(d); assert run(p)==b'harmless\\n', run(p)\n\
         \x20 f=open(p,'r+b'); m=mmap.mmap(f.fileno(),0); f.close()\n\
         \x20 m[at:at+8]=b'RAN tool'\n\
         \x20 print(d,'mapped',run(p))\n\
         \x20 m.close(); print(d,'unmapped',run(p))\n\
         \x20 p=fresh(d); assert run(p)==b'harmless\\n'\n\
         \x20 f=open(p,'r+b'); f.seek(at); f.write(b'RAN tool'); f.flush(); print(d,'open',run(p)); f.close(); print(d,'closed',run(p))\n\
         \x20 p=fresh(d); assert run(p)==b'harmless\\n'; s=os.stat(p)\n\
         \x20 f=open(p,'r+b'); f.seek(at); f.write(b'RAN tool'); f.close(); os.utime(p,ns=(s.st_atime_ns,s.st_mtime_ns)); print(d,'times',run(p))\n\
         \x20 p=fresh(d); q=fresh(d); \n\
         p='other'; f=open(p,'r+b'); m=mmap.mmap(f.fileno(),0); f.close(); print('copied up',run('./other'))\n\
         m[at:at+8]=b'RAN tool'; print('copied up, mapped',run('./other')); m.close(); print('copied up, unmapped',run('./other'))\n"
    );
    let quoted = script.replace('\'', "'\\''");
    let ran = sh(&environment, &format!("python3 -c '{quoted}'"));
    assert_eq!(ran.status, sandbox::ExitStatus::Code(0), "{ran:?}");
    assert!(!ran.out.contains("RAN"), "{ran:?}");
    assert_eq!(ran.out.lines().count(), 2 * 5 + 3, "{ran:?}");
}

/// A thread flips the content as fast as it can while another executes it.
#[test]
fn a_race_for_the_content_is_never_won() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let base = base(&world);
    let tool = std::fs::read(base.join("tool")).unwrap();
    let word = tool
        .windows(8)
        .position(|part| part == b"RAN tool")
        .unwrap();
    let environment = create(
        &world,
        "race",
        Some(&base),
        policy(ExecMode::DenyList, denials(&base)),
    );
    // The refused bytes never lie in a file that was judged before.
    let script = format!(
        "import os,subprocess,threading,time\nat={word}\nend=time.time()+4\n\
         data=bytearray(os.read(0,1<<20))\n\
         def flip():\n  while time.time()<end:\n    try:\n      f=open('/work/prog','r+b',buffering=0)\n      for w in (b'RAN tool',b'harmless'):\n        f.seek(at); f.write(w)\n      f.close()\n    except OSError: pass\n\
         data[at:at+8]=b'harmless'\nopen('/work/prog','wb').write(data); os.chmod('/work/prog',0o755)\n\
         t=[threading.Thread(target=flip) for _ in range(2)]\nfor x in t: x.start()\n\
         n=0\nwhile time.time()<end:\n  try: r=subprocess.run(['/work/prog'],capture_output=True).stdout\n  except OSError: continue\n  n+=1\n  if b'RAN' in r: print('RAN')\n\
         for x in t: x.join()\nprint('runs',n)\n"
    );
    let quoted = script.replace('\'', "'\\''");
    let mut step = crate::common::quiet(&format!("python3 -c '{quoted}'"));
    let (read, mut write) = std::io::pipe().unwrap();
    step.stdin = Some(read.into());
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut write, &tool));
    let ran = crate::common::run(&environment, step);
    sender.join().unwrap().unwrap();
    assert!(ran.out.contains("runs"), "{ran:?}");
    assert!(!ran.out.contains("RAN"), "{ran:?}");
}
