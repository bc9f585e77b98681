//! The page: what was measured, in the order in which people ask.

use super::charts;
use super::gather::Measured;
use super::svg::escape;
use crate::cli::output::{ms, or_dash, thousands};
use core::fmt::Write as _;

const STYLE: &str = "
:root{--ink:#1b1f24;--soft:#59636e;--line:#d8dee4;--paper:#fff;--first:#0969da;--second:#1a7f37;--third:#8250df;--pale:#c8d9ee;--over:#cf222e}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--line:#3d444d;--paper:#0d1117;--first:#4493f8;--second:#3fb950;--third:#ab7df8;--pale:#28405e;--over:#f85149}}
body{margin:0 auto;max-width:1060px;padding:24px;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h1{margin:0 0 4px;font-size:26px}h2{margin:40px 0 4px;font-size:19px;border-top:1px solid var(--line);padding-top:20px}
p{margin:4px 0 12px;max-width:80ch}.note{color:var(--soft);font-size:13px;margin:0}
.tiles{display:flex;flex-wrap:wrap;gap:12px;margin:20px 0}.tile{border:1px solid var(--line);border-radius:8px;padding:10px 16px;min-width:110px}
.tile b{display:block;font-size:22px;font-weight:600}.tile span{color:var(--soft);font-size:13px}
svg{display:block;max-width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:var(--ink)}
.grid{stroke:var(--line)}.line{fill:none;stroke-width:1.6}.line.first{stroke:var(--first)}.line.second{stroke:var(--second)}.line.bound{stroke:var(--over)}.line.edge{stroke:var(--over)}
circle.first,rect.first{fill:var(--first)}circle.second,rect.second{fill:var(--second)}rect.third{fill:var(--third)}rect.pale{fill:var(--pale)}rect.over,rect.bound{fill:var(--over)}
svg.map rect.second{opacity:.55}.map rect{stroke:var(--paper);stroke-width:.5}
.small{display:flex;flex-wrap:wrap;gap:10px 8px}figure{margin:0;width:256px}figcaption{font-size:12px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}td,th{padding:3px 10px;text-align:right;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:500}td.name,th.name{text-align:left}.scroll{overflow-x:auto}";

/// The page as HTML.
pub(super) fn html(m: &Measured) -> String {
    let model = &m.engine.model;
    let title = escape(&m.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport content=\"width=device-width\">\n<title>{title}: skipstone report</title>\n\
         <style>{STYLE}</style>\n<h1>{title}</h1>\n"
    );
    let [h, w, c] = model.input_shape();
    let _ = writeln!(
        page,
        "<p class=note>{} · {w}×{h}×{c} input, {} classes · {} layers, {} parameters, {} MACs · file {} bytes, arena {} bytes · quantized with {}, {} pictures</p>",
        escape(model.name()),
        model.classes(),
        model.layers(),
        thousands(model.parameters()),
        thousands(model.macs()),
        thousands(model.bytes().len() as u64),
        thousands(m.engine.plan.arena_bytes(1) as u64),
        escape(model.method()),
        model.calibration_pictures()
    );
    let skipped: Vec<u32> = model.skipped().collect();
    if !skipped.is_empty() {
        let _ = writeln!(
            page,
            "<p class=note>Residual blocks {skipped:?} of the source are left out; the float network beside it is the whole one in the tiles, and lacks them below.</p>"
        );
    }
    page.push_str(&tiles(m));
    let mut section = |name: &str, about: &str, body: &str| {
        if !body.is_empty() {
            let _ = writeln!(page, "<h2>{name}</h2>\n<p>{about}</p>\n<div class=scroll>{body}</div>");
        }
    };
    let on = format!(
        "Signal over quantization error of each step's result against the float network, on {} pictures: alone, reading the float network's values rounded to its inputs' grids, \
         and with the errors of all steps before it. Points show their names under the pointer.",
        m.layer_pictures
    );
    section("Error by layer", &on, &charts::error(&m.layers));
    let about = "The scores with the plainest quantizer, and with one part of the default one more from row to row, fitted to the pictures to calibrate with and measured on the others: the median of the pictures.";
    section("Accuracy by method", about, &charts::methods(&m.rungs));
    let host = format!(
        "Each step is the least of {} passes of the whole network on one thread, kernel set {}, against the {:.1} GMAC/s that this core was measured to reach. {}",
        m.passes,
        m.engine.kernels.set(),
        m.peak.gmac_per_s,
        escape(&m.host.line())
    );
    section("Time by layer", &host, &charts::time(&m.steps, m.peak.gmac_per_s));
    let memory = "Which bytes of the arena hold which tensor during which steps. The line is what the tensors of a step need together: the arena cannot be smaller than its highest point.";
    section("Memory over time", memory, &charts::memory(&m.engine.plan).replacen("<svg", "<svg class=map", 1));
    let blocks = format!(
        "Norm of what a residual block adds over the norm of what it adds it to, on {} pictures; blocks whose shortcut is a projection have none. A block that adds little can be \
         left out with little loss: <code>skipstone convert --skip-blocks</code>.",
        m.pictures
    );
    section("Residual blocks", &blocks, &format!("{}{}", charts::energy(&m.blocks), block_table(m)));
    if let Some(ensemble) = m.ensemble.as_ref().filter(|e| e.curve.len() > 1) {
        let about = format!(
            "The float network without its least useful residual blocks against the whole one, one more left out from point to point, on {} pictures; the time is that of the integer \
             network's other blocks.",
            ensemble.pictures
        );
        section("Accuracy for time", &about, &charts::curve(ensemble));
    }
    let about = format!(
        "Values of the float network on {} pictures by the integers that stand for them, counts in a logarithmic scale, zeros left out. The lines are the ends of the chosen range: \
         what lies beyond is clipped.",
        m.layer_pictures
    );
    section("Distributions", &about, &charts::histograms(&m.distributions));
    let _ = writeln!(page, "<p class=note>skipstone {}</p>\n</html>", env!("CARGO_PKG_VERSION"));
    page
}

fn tiles(m: &Measured) -> String {
    let percent = |v: Option<f64>| v.map(|v| format!("{v:.2} %"));
    let sqnr = m.tally.sqnr_db().map(|v| format!("{v:.1} dB"));
    let total: f64 = m.steps.iter().map(|s| s.ms).sum();
    let rate = m.engine.model.macs() as f64 / total / 1e6;
    let tiles = [
        ("top-1 of the integers", percent(m.tally.top1())),
        ("top-1 of the float network", percent(m.tally.float_top1())),
        ("have the float network's class", percent(m.tally.agreement())),
        ("signal over error of the scores", sqnr),
        ("pictures", Some(m.pictures.to_string())),
        ("a picture, one thread", Some(format!("{} ms", ms(total)))),
        ("of the peak", Some(format!("{:.0} %", 100.0 * rate / m.peak.gmac_per_s))),
    ];
    let tile = |(name, value): (&str, Option<String>)| value.map(|v| format!("<div class=tile><b>{v}</b><span>{name}</span></div>")).unwrap_or_default();
    format!("<div class=tiles>{}</div>\n", tiles.map(tile).concat())
}

fn block_table(m: &Measured) -> String {
    let mut table = String::from(
        "<table><tr><th>block<th class=name>kind<th>in<th>out<th>stride<th class=name>shortcut<th class=name>convolutions<th>parameters<th>MACs<th>arena<th>ms<th>%<th>|F|/|x|",
    );
    for b in &m.blocks {
        let kind = if b.traits.is_empty() { b.kind.to_owned() } else { b.traits.join(" ") };
        let convolutions = if b.block.is_some() { b.convolutions.join(", ") } else { format!("{} from {}", b.convolutions.len(), b.first) };
        let _ = write!(
            table,
            "\n<tr><td>{}<td class=name>{kind}<td>{}<td>{}<td>{}<td class=name>{}<td class=name>{}<td>{}<td>{}<td>{:.0} %<td>{}<td>{}<td>{}",
            or_dash(b.block.map(|n| n.to_string())),
            b.in_channels,
            b.channels,
            b.stride,
            or_dash(b.shortcut.map(str::to_owned)),
            escape(&convolutions),
            thousands(b.parameters),
            thousands(b.macs),
            b.arena_percent,
            or_dash(b.ms.map(ms)),
            or_dash(b.share.map(|v| format!("{v:.1}"))),
            or_dash(b.energy.map(|v| format!("{v:.3}")))
        );
    }
    table + "\n</table>"
}
