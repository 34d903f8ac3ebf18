//! Names of account nodes.

use sha2::{Digest, Sha256};

/// The account's node on Windows: the number of the algorithm (`CALG_SHA_256`), and the SHA-256 of the
/// provider's identifier in UTF-16, as upper-case hexadecimal digits (DMAcc CSP).
#[must_use]
pub fn windows_node(provider_id: &str) -> String {
    let mut hash = Sha256::new();
    for unit in provider_id.encode_utf16() {
        hash.update(unit.to_le_bytes());
    }
    hash.finalize().iter().fold("0x0000800c".to_owned(), |name, byte| name + &format!("{byte:02X}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_of_a_provider() {
        // As that provider writes it in its own commands.
        let node = "0x0000800cABF8CA7D87C0FA21BB21B896AE2C8468CA07710326415228ACF2392EA1327077";
        assert_eq!(windows_node("Fleet"), node);
    }
}
