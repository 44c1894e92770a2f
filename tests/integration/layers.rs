//! The layers of the workspace: the crates that each crate may depend on, and modules without import cycles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A crate of the workspace.
struct Crate {
    /// Its folder, relative to the workspace.
    folder: String,
    /// The names of its dependencies, for any target and also for tests.
    dependencies: BTreeSet<String>,
}

impl Crate {
    fn is_in(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.folder == *folder || self.folder.starts_with(&format!("{folder}/")))
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The crates in a folder of the workspace.
fn crates_in(folder: &str) -> Vec<Crate> {
    let entries = std::fs::read_dir(workspace().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let folders = names.map(|name| format!("{folder}/{name}"));
    let mut crates: Vec<Crate> = folders
        .filter(|folder| workspace().join(folder).join("Cargo.toml").exists())
        .map(read_crate)
        .collect();
    crates.sort_by(|a, b| a.folder.cmp(&b.folder));
    crates
}

fn read_crate(folder: String) -> Crate {
    let manifest = std::fs::read_to_string(workspace().join(&folder).join("Cargo.toml")).unwrap();
    let dependencies = dependencies(&manifest);
    Crate { folder, dependencies }
}

fn crates() -> Vec<Crate> {
    let single = ["local", "tests", "bench"].map(|folder| read_crate(folder.to_owned()));
    crates_in("shared").into_iter().chain(crates_in("functions")).chain(single).collect()
}

/// The names in the tables of dependencies of a manifest.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut is_table = false;
    for line in manifest.lines() {
        if let Some(header) = line.strip_prefix('[') {
            let path: Vec<&str> = header.trim_end_matches(']').split('.').collect();
            let table = path.iter().position(|name| name.ends_with("dependencies"));
            is_table = table.is_some_and(|table| table + 1 == path.len());
            if let Some(name) = table.and_then(|table| path.get(table + 1)) {
                names.insert((*name).to_owned());
            }
        } else if is_table && line.starts_with(|first: char| first.is_alphanumeric()) {
            let name = line.split(['.', '=', ' ']).next().unwrap();
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn dependencies_are_found_in_all_tables() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\n# No.\nb = { path = \"b\" }\n\
                    [target.'cfg(unix)'.dependencies]\nc = \"1\"\n[dev-dependencies.d]\nversion = \"1\"\n\
                    [build-dependencies]\ne=\"1\"\n[lints]\nworkspace = true\n";
    assert_eq!(dependencies(manifest), ["a", "b", "c", "d", "e"].map(str::to_owned).into());
}

#[test]
fn crates_depend_on_lower_layers_only() {
    let functions: BTreeSet<String> =
        crates_in("functions").iter().map(|found| found.folder.replace("functions/", "")).collect();
    assert!(functions.contains("record-activity"));
    for found in crates() {
        for dependency in &found.dependencies {
            let name = dependency.as_str();
            let is_edge =
                ["aws", "lambda", "http", "hyper", "axum"].iter().any(|kind| name.starts_with(kind));
            let is_allowed = match name {
                _ if is_edge && found.folder == "shared/domain" => false,
                "aws-sdk-dynamodb" => found.is_in(&["shared/store", "local", "tests", "bench"]),
                "lambda_http" | "lambda_runtime" => {
                    found.is_in(&["functions", "shared/lambda-support", "local", "tests", "bench"])
                }
                _ => !(functions.contains(name) && found.is_in(&["shared"])),
            };
            assert!(is_allowed, "{} must not depend on {name}", found.folder);
        }
    }
}

/// The imports between the top-level modules of a crate: by module, the imported modules, each with an example.
type Imports = BTreeMap<String, BTreeMap<String, String>>;

/// Reads the imports between the top-level modules of the crate in `folder`. The root is no module, because each
/// crate's root declares all modules and every module may use the root's own items. Items that the root imports from a
/// module count as the module's.
fn imports(folder: &Path) -> Imports {
    let files = sources(&folder.join("src"));
    let is_root = |path: &[String]| path.is_empty();
    let modules: BTreeSet<&String> = files.iter().filter_map(|(path, _)| path.first()).collect();
    let mut origins: BTreeMap<String, String> =
        modules.iter().map(|name| ((*name).clone(), (*name).clone())).collect();
    for (_, text) in files.iter().filter(|(path, _)| is_root(path)) {
        for statement in text.split(';').filter_map(|text| text.rsplit_once("use ").map(|(_, tree)| tree)) {
            for path in use_tree(statement) {
                let path: Vec<&str> =
                    path.iter().map(String::as_str).filter(|name| *name != "self").collect();
                let path = path.strip_prefix(&["crate"]).unwrap_or(&path);
                if let [module, .., name] = path
                    && modules.iter().any(|known| known == module)
                {
                    origins.insert((*name).to_owned(), (*module).to_owned());
                }
            }
        }
    }
    let mut imports = Imports::new();
    for (path, text) in files.iter().filter(|(path, _)| !is_root(path)) {
        // The root is as many `super` away as the module's path is long.
        let from_root = ["crate::".to_owned(), "super::".repeat(path.len())];
        let imported = imports.entry(path[0].clone()).or_default();
        for (line, rest) in from_root.iter().flat_map(|prefix| occurrences(text, prefix)) {
            for used in use_tree(rest) {
                let origin = used.first().and_then(|name| origins.get(name));
                if let Some(origin) = origin.filter(|origin| **origin != path[0]) {
                    imported.entry(origin.clone()).or_insert_with(|| format!("{}:{line}", path.join("::")));
                }
            }
        }
    }
    imports
}

/// The source files of a folder, each with its module's path, without comments and tests. The roots have an empty path.
fn sources(folder: &Path) -> Vec<(Vec<String>, String)> {
    fn read(folder: &Path, parent: &[String], found: &mut Vec<(Vec<String>, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let module: Vec<String> = parent.iter().cloned().chain([name.clone()]).collect();
            if path.is_dir() {
                read(&path, &module, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests" {
                let is_root = parent.is_empty() && ["lib", "main"].contains(&name.as_str());
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                let lines = code.lines().map(|line| line.split("//").next().unwrap());
                found.push((if is_root { Vec::new() } else { module }, lines.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    let mut found = Vec::new();
    read(folder, &[], &mut found);
    found.sort();
    found
}

/// The places in a text where a path begins with `prefix`, each with its line and the text after the prefix.
fn occurrences<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    text.match_indices(prefix).filter_map(move |(at, _)| {
        let before = text[..at].chars().next_back();
        let is_start = before.is_none_or(|before| !before.is_alphanumeric() && !['_', ':'].contains(&before));
        is_start.then(|| (1 + text[..at].matches('\n').count(), &text[at + prefix.len()..]))
    })
}

/// The paths of a `use` tree at the start of a text, such as `a::{b, c::d as e}`. An alias is the last name of its
/// path.
fn use_tree(text: &str) -> Vec<Vec<String>> {
    fn read(text: &mut &str, parent: &[String], found: &mut Vec<Vec<String>>) {
        let mut path = parent.to_vec();
        loop {
            *text = text.trim_start();
            if let Some(rest) = text.strip_prefix('{') {
                *text = rest;
                loop {
                    *text = text.trim_start();
                    if text.starts_with('}') || text.is_empty() {
                        *text = text.strip_prefix('}').unwrap_or(text);
                        return;
                    }
                    let before = text.len();
                    read(text, &path, found);
                    *text = text.trim_start();
                    *text = text.strip_prefix(',').unwrap_or(text);
                    if text.len() == before {
                        return;
                    }
                }
            }
            let end = text.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            if !name.is_empty() {
                path.push(name.to_owned());
            }
            *text = rest;
            if let Some(rest) = text.strip_prefix("::") {
                *text = rest;
                continue;
            }
            if let Some(alias) = text.strip_prefix(" as ") {
                let end =
                    alias.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(alias.len());
                path.push(alias[..end].to_owned());
                *text = &alias[end..];
            }
            found.push(path);
            return;
        }
    }
    let mut found = Vec::new();
    read(&mut { text }, &[], &mut found);
    found
}

/// The shortest import cycle through each module that is in one, without those that begin elsewhere in the same cycle.
fn cycles(imports: &Imports) -> Vec<Vec<String>> {
    let mut cycles = Vec::new();
    let mut seen = BTreeSet::new();
    for start in imports.keys() {
        let mut paths = std::collections::VecDeque::from([vec![start.clone()]]);
        let mut visited = BTreeSet::new();
        while let Some(path) = paths.pop_front() {
            let next = imports.get(path.last().unwrap()).into_iter().flat_map(BTreeMap::keys);
            for module in next {
                if module == start {
                    let members: BTreeSet<String> = path.iter().cloned().collect();
                    if seen.insert(members) {
                        cycles.push(path.clone());
                    }
                    paths.clear();
                    break;
                }
                if visited.insert(module.clone()) {
                    paths.push_back(path.iter().cloned().chain([module.clone()]).collect());
                }
            }
        }
    }
    cycles
}

#[test]
fn use_trees_and_cycles_are_read() {
    let paths: Vec<String> =
        use_tree("a::{b, c::{self, d as e}, f::g};").iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["a::b", "a::c::self", "a::c::d::e", "a::f::g"]);
    let module =
        |imported: &[&str]| imported.iter().map(|name| ((*name).to_owned(), String::new())).collect();
    let imports: Imports = [("a", &["b"][..]), ("b", &["c", "d"]), ("c", &["a"]), ("d", &[])]
        .map(|(name, imported)| (name.to_owned(), module(imported)))
        .into();
    assert_eq!(cycles(&imports), [["a", "b", "c"]]);
}

#[test]
fn modules_have_no_import_cycles() {
    let mut found = Vec::new();
    for member in crates().iter().filter(|member| member.is_in(&["shared", "functions", "local"])) {
        let imports = imports(&workspace().join(&member.folder));
        for cycle in cycles(&imports) {
            let mut steps = Vec::new();
            for (index, module) in cycle.iter().enumerate() {
                let next = &cycle[(index + 1) % cycle.len()];
                steps.push(format!("{module} imports {next} at {}", imports[module][next]));
            }
            found.push(format!("{}: {}", member.folder, steps.join(", ")));
        }
    }
    assert!(found.is_empty(), "{} import cycles:\n{}", found.len(), found.join("\n"));
}
