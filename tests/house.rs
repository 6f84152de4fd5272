//! The order of the layers, and what only one of them may know.

#[cfg(test)]
mod house {
    use std::fs;
    use std::path::{Path, PathBuf};

    /// From the user to the server; a layer imports from itself and from those behind it.
    const LAYERS: [&str; 9] = ["cli", "mount", "fuse", "vfs", "write", "read", "cache", "remote", "ftp"];

    /// Without knowledge of the domain: usable by all, importing from none.
    const GROUND: [&str; 4] = ["deadline", "secret", "sys", "workers"];

    /// Longest source file, in lines, tests in it included.
    const LONGEST: usize = 600;

    fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => sources(&path, found),
                false => found.push(path),
            }
        }
    }

    /// Each file with its layer (the first part of its path below src/) and its text.
    fn files() -> Vec<(PathBuf, String, String)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut paths = Vec::new();
        sources(&root, &mut paths);
        let file = |path: PathBuf| {
            let below = path.strip_prefix(&root).unwrap().to_owned();
            let first = below.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
            let layer = first.trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).unwrap();
            (below, layer, text)
        };
        let files: Vec<_> = paths.into_iter().map(file).collect();
        assert!(files.len() > 50, "the sources were not found");
        files
    }

    fn rank(layer: &str) -> usize {
        LAYERS.iter().position(|&known| known == layer).unwrap_or(LAYERS.len())
    }

    #[test]
    fn layers_import_only_from_those_behind_them() {
        for (path, layer, text) in files() {
            if layer == "lib" || layer == "main" {
                continue;
            }
            assert!(rank(&layer) < LAYERS.len() || GROUND.contains(&layer.as_str()), "{layer} has no place");
            for import in text.split("crate::").skip(1) {
                let to: String = import.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let known = LAYERS.contains(&to.as_str()) || GROUND.contains(&to.as_str());
                assert!(!known || rank(&to) >= rank(&layer), "{} imports from {to}", path.display());
            }
        }
    }

    #[test]
    fn libraries_are_known_where_they_belong() {
        for (library, homes) in [
            ("clap::", &["cli"][..]),
            ("fuser::", &["fuse", "mount"]),
            ("unsafe {", &["sys"]),
            ("socket2::", &["ftp"]),
            ("rustls::", &["ftp"]),
            ("encoding_rs::", &["vfs", "ftp"]),
            ("httparse::", &["ftp"]),
            ("xxhash_rust::", &["cache"]),
        ] {
            for (path, layer, text) in files() {
                assert!(
                    !text.contains(library) || homes.contains(&layer.as_str()),
                    "{} knows {library}",
                    path.display()
                );
            }
        }
    }

    /// A new dialect without a target would never be fuzzed, nor would a target without its entry in the manifest.
    #[test]
    fn every_dialect_has_its_fuzz_target() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let manifest = fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
        let list = fs::read_to_string(root.join("src/ftp/list.rs")).unwrap();
        let mut paths = Vec::new();
        sources(&root.join("fuzz/fuzz_targets"), &mut paths);
        let targets: String = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        for path in paths {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}\"")), "{name} is not built");
        }
        let rows = list.split("Row { dialect: Dialect::").skip(1);
        let dialects: Vec<&str> = rows.map(|row| row.split(',').next().unwrap()).collect();
        assert!(dialects.len() > 10, "the dialects were not found");
        for dialect in dialects {
            assert!(targets.contains(&format!("Dialect::{dialect},")), "{dialect} is not fuzzed");
        }
    }

    #[test]
    fn files_are_short_enough_to_be_read() {
        for (path, _, text) in files() {
            assert!(text.lines().count() <= LONGEST, "{} is too long", path.display());
        }
    }
}
