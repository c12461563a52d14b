//! Addresses of the static files: what a browser gets as it is, from `assets/`.
//!
//! The platform serves these files; a request for one does not run this program. An address has a hash of the content, so
//! a browser may keep the file for ever. `src/build.rs` makes the table from the files, and `tools/assets.mjs` writes the files
//! under the same addresses: its build fails if the program names another one.

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

pub(super) use asset;

/// Whether `logos.svg` has a logo of this app.
pub(super) fn has_logo(app: &str) -> bool {
    LOGOS.contains(&app)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::fs;
    use std::path::Path;

    use sha2::{Digest as _, Sha256};

    use super::ADDRESSES;

    #[test]
    fn every_file_has_an_address_with_the_hash_of_its_content() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert_eq!(files.len(), ADDRESSES.len());
        for (file, (name, address)) in files.iter().zip(ADDRESSES) {
            assert_eq!(file.file_name().unwrap().to_str(), Some(*name));
            let mut hash = String::new();
            Sha256::digest(fs::read(file).unwrap()).iter().take(6).for_each(|byte| write!(hash, "{byte:02x}").unwrap());
            let (stem, extension) = name.split_once('.').unwrap();
            assert_eq!(*address, format!("/assets/{stem}.{hash}.{extension}"));
        }
        assert_eq!(asset!("style.css"), ADDRESSES.iter().find(|(name, _)| *name == "style.css").unwrap().1);
    }
}
