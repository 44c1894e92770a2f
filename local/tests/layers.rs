//! The modules of the crate form layers, which `src/lib.rs` lists.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The layer of each module, by the group of `mod` lines in `lib.rs` that has it.
fn layers() -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(source("lib.rs")).unwrap();
    let mut layers = BTreeMap::new();
    for (layer, group) in text.split("\n\n").enumerate() {
        let modules = group.lines().filter_map(|line| {
            line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?.strip_suffix(';')
        });
        layers.extend(modules.map(|module| (module.to_owned(), layer)));
    }
    layers
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(path)
}

/// The text of a module's files.
fn text(module: &str) -> String {
    let folder = std::fs::read_dir(source(module)).into_iter().flatten();
    let files = folder.map(|file| file.unwrap().path()).chain([source(&format!("{module}.rs"))]);
    files.map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

/// The modules that a text names after `crate::`, alone or in a list.
fn used(text: &str) -> Vec<&str> {
    let mut used = Vec::new();
    for (at, start) in text.match_indices("crate::") {
        let rest = &text[at + start.len()..];
        let (mut depth, mut begins_name) = (0, true);
        for (index, character) in rest.char_indices() {
            let is_name = character.is_ascii_alphanumeric() || character == '_';
            if begins_name && is_name {
                let rest = &rest[index..];
                used.push(rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap());
            }
            depth += i32::from(character == '{') - i32::from(character == '}');
            // Only the outermost list names modules.
            begins_name = depth == 1 && (matches!(character, '{' | ',') || begins_name && !is_name);
            if depth == 0 {
                break;
            }
        }
    }
    used
}

#[test]
fn modules_use_earlier_layers_only() {
    let layers = layers();
    assert!(layers.len() > 20, "{layers:?}");
    let mut uses = 0;
    for (module, layer) in &layers {
        for used in used(&text(module)) {
            let Some(below) = layers.get(used).filter(|_| used != module) else { continue };
            assert!(below < layer, "{module} uses {used}");
            uses += 1;
        }
    }
    assert!(uses > 50, "{uses}");
}
