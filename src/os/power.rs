//! The power mode of a Jetson, which decides how many cores it has and how fast they may be.

use super::tree::Tree;

/// The power mode in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PowerMode {
    /// Its number, as `nvpmodel -m` takes it.
    pub id: u32,
    /// Its name, where the board's list has it: `MAXN`, `15W` ...
    pub name: Option<String>,
    /// Number and name of the mode with the most power, if that is another.
    pub higher: Option<(u32, String)>,
}

impl PowerMode {
    /// Name, or else number.
    #[must_use]
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.id.to_string())
    }
}

/// The mode that `nvpmodel` noted, named by the board's list of modes.
pub(super) fn read(tree: Tree<'_>) -> Option<PowerMode> {
    let status = tree.text("var/lib/nvpmodel/status")?;
    let digits = status.split("pmode:").nth(1)?;
    let id = digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())].parse().ok()?;
    let list = tree.text("etc/nvpmodel.conf").unwrap_or_default();
    let modes: Vec<_> = list.lines().filter_map(mode).collect();
    let own = modes.iter().find(|m| m.0 == id).map(|m| m.1.clone());
    let most = modes.into_iter().max_by_key(|(id, name)| (power(name), core::cmp::Reverse(*id)));
    let higher = most.filter(|most| own.as_ref().is_some_and(|own| power(own) < power(&most.1)));
    Some(PowerMode { id, name: own, higher })
}

/// A line such as `< POWER_MODEL ID=0 NAME=MAXN >`.
fn mode(line: &str) -> Option<(u32, String)> {
    let body = line.trim().strip_prefix('<')?.strip_suffix('>')?.trim().strip_prefix("POWER_MODEL")?;
    let field = |key: &str| body.split_whitespace().find_map(|word| word.strip_prefix(key));
    Some((field("ID=")?.parse().ok()?, field("NAME=")?.to_owned()))
}

/// Watts in the name of a mode; those without a limit are above all.
fn power(name: &str) -> u32 {
    if name.starts_with("MAXN") {
        return u32::MAX - u32::from(!name.contains("SUPER"));
    }
    let watts = name.split('_').find_map(|word| word.strip_suffix('W')?.parse().ok());
    watts.unwrap_or(0)
}
