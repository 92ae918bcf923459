//! A stream that can be read only once, copied to a temporary file that has no name.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek},
};

/// Copies everything to a file that only this process can see and that vanishes with it.
pub(crate) fn spool(reader: &mut dyn Read) -> io::Result<File> {
    let mut file = unnamed()?;
    io::copy(reader, &mut file)?;
    file.rewind()?;
    Ok(file)
}

/// An empty file that only this process can see and that vanishes with it.
pub(crate) fn unnamed() -> io::Result<File> {
    let path = env::temp_dir().join(format!("presend-{:032x}", rand::random::<u128>()));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}
