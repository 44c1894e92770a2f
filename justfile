# The daily commands, by name. `just` lists them. Nothing needs `just`: each is the line that it runs.
# Install it with `pip install rust-just` or `cargo install just`.

# Cargo's target folder
target := env("CARGO_TARGET_DIR", "target")

[private]
default:
    @just --list --unsorted

# Serve a demo workspace on http://localhost:8000; takes the options of `local`
run *options:
    cargo run --locked --package local -- {{ options }}

# Run all tests on the embedded DynamoDB, or those whose names contain a text
test *filter:
    cargo test --workspace --locked {{ filter }}

# Run the tests on DynamoDB Local, which is downloaded the first time (needs Java 17 and npm)
test-dynamodb-local *filter:
    tests/dynamodb-local.sh cargo test --workspace --locked {{ filter }}

# Check the format, and deny all warnings of clippy
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Format all Rust code
fmt:
    cargo fmt --all

# Build the documentation of all crates, and deny its warnings; `just docs --open` shows it
docs *options:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked {{ options }}

# Measure reads, writes, sizes and start-up; takes the options of `bench`
bench *options:
    cargo build --release --workspace --bins --locked
    {{ target }}/release/bench --functions {{ target }}/release {{ options }}

# Write schema.graphql and openapi.json anew
snapshots:
    UPDATE_SCHEMA=1 cargo test --locked --package tests schema
    UPDATE_OPENAPI=1 cargo test --locked --package local openapi
    UPDATE_GUIDES=1 cargo test --locked --package tests guides

# Check licences, sources and duplicates of the dependencies (needs cargo-deny)
deny:
    cargo deny --locked check --hide-inclusion-graph bans licenses sources

# Run everything that a change must pass
ci:
    bash .ci/run
