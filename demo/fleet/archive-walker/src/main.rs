mod header;

use std::io::{self, Read, Seek, SeekFrom};
use std::{env, fs::File, process::ExitCode};

fn main() -> ExitCode {
    let Some(path) = env::args().nth(1) else {
        eprintln!("usage: archive-walker FILE");
        return ExitCode::from(2);
    };
    match walk(&path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("archive-walker: {path}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn walk(path: &str) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut block = [0; header::BLOCK];
    while file.read_exact(&mut block).is_ok() {
        let Some(entry) = header::parse(&block) else { break };
        println!("{:>12} {}", entry.size, entry.name);
        let blocks = entry.size.div_ceil(header::BLOCK as u64) * header::BLOCK as u64;
        file.seek(SeekFrom::Current(blocks as i64))?;
    }
    Ok(())
}
