//! The names that AWS gives to the resources of this machine.

/// The account of every resource.
pub(crate) const ACCOUNT: &str = "000000000000";
/// The region of every resource.
pub(crate) const REGION: &str = "local";

/// The ARN of a resource.
pub(crate) fn arn(service: &str, resource: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}")
}
