//! rancher-lets-encrypt.
