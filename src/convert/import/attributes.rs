//! Windows from the attributes of a convolution or pool.

use crate::convert::error::ConvertError;
use crate::convert::onnx::Node;
use crate::shape::Window;

/// Kernel sizes, strides, dilations and pads beyond this are taken for damage.
const LIMIT: i64 = 1 << 16;

/// The window of a convolution whose weights are `ky` by `kx`, over a picture of `size`.
///
/// # Errors
/// Attributes out of range, or that contradict the weights.
pub(super) fn conv_window(node: &Node, size: [usize; 2], kernel: [usize; 2]) -> Result<Window, ConvertError> {
    if let Some(stated) = pair(node, "kernel_shape", 1)?
        && stated.map(|k| k as usize) != kernel
    {
        return Err(node.wrong(format!("kernel_shape {stated:?} where the weights are {} by {}", kernel[0], kernel[1])));
    }
    let kernel = kernel.map(|k| u32::try_from(k).unwrap_or(u32::MAX));
    base_window(node, size, kernel)
}

/// The window of a pool over a picture of `size`. With `ceil_mode` its border is enlarged so that the last window fits; the flag says whether it was.
///
/// # Errors
/// Attributes out of range, or a window that lies wholly in the border.
pub(super) fn pool_window(node: &Node, size: [usize; 2]) -> Result<(Window, bool), ConvertError> {
    let kernel = pair(node, "kernel_shape", 1)?.ok_or_else(|| node.wrong("attribute kernel_shape is missing"))?;
    let mut window = base_window(node, size, kernel)?;
    let mut enlarged = false;
    if node.int("ceil_mode", 0)? != 0 {
        let extent = window.extent();
        for axis in 0..2 {
            let (in_size, stride) = (size[axis] as u64, u64::from(window.stride[axis]));
            let (before, after, extent) = (u64::from(window.pads[axis]), u64::from(window.pads[axis + 2]), u64::from(extent[axis]));
            let room = (in_size + before + after).checked_sub(extent).ok_or_else(|| node.wrong("the window is larger than the picture"))?;
            let mut last = room.div_ceil(stride) * stride;
            if last >= in_size + before {
                last -= stride;
            }
            let missing = (last + extent).saturating_sub(in_size + before + after);
            enlarged |= missing > 0;
            window.pads[axis + 2] += u32::try_from(missing).map_err(|_| node.wrong("the window is out of range"))?;
        }
    }
    let out = output_size(node, &window, size)?;
    for axis in 0..2 {
        let (dilation, taps) = (u64::from(window.dilation[axis]), u64::from(window.kernel[axis]));
        for o in 0..out[axis] as u64 {
            let (start, before) = (o * u64::from(window.stride[axis]), u64::from(window.pads[axis]));
            let tap = before.saturating_sub(start).div_ceil(dilation);
            if tap >= taps || start + tap * dilation >= before + size[axis] as u64 {
                return Err(node.wrong("a window lies wholly in the border"));
            }
        }
    }
    Ok((window, enlarged))
}

/// Height and width of what `window` makes of a picture of `size`.
///
/// # Errors
/// The window does not fit.
pub(super) fn output_size(node: &Node, window: &Window, size: [usize; 2]) -> Result<[usize; 2], ConvertError> {
    let [h, w] = size.map(|v| u32::try_from(v).unwrap_or(u32::MAX));
    let out = window.output(h, w).ok_or_else(|| node.wrong(format!("a window of {:?} does not fit a picture of {h} by {w}", window.kernel)))?;
    Ok(out.map(|v| v as usize))
}

/// Checks that the attributes of a window have a value for each of `axes` axes: one for a signal, two for a picture.
///
/// # Errors
/// A list of another length.
pub(super) fn check_rank(node: &Node, axes: usize) -> Result<(), ConvertError> {
    for (name, want) in [("kernel_shape", axes), ("strides", axes), ("dilations", axes), ("pads", 2 * axes)] {
        if let Some(values) = node.ints(name)?
            && values.len() != want
        {
            return Err(node.wrong(format!("attribute {name} has {} values instead of {want}", values.len())));
        }
    }
    Ok(())
}

fn base_window(node: &Node, size: [usize; 2], kernel: [u32; 2]) -> Result<Window, ConvertError> {
    let stride = pair(node, "strides", 1)?.unwrap_or([1, 1]);
    let dilation = pair(node, "dilations", 1)?.unwrap_or([1, 1]);
    let mut window = Window { kernel, stride, dilation, pads: [0; 4] };
    let explicit = node.ints("pads")?;
    match node.text("auto_pad", "NOTSET")? {
        "NOTSET" | "" => {
            if let Some(pads) = explicit {
                let pads = match *pads {
                    [before, after] => [0, before, 0, after],
                    [top, left, bottom, right] => [top, left, bottom, right],
                    _ => return Err(node.wrong("attribute pads has not four values")),
                };
                for (to, from) in window.pads.iter_mut().zip(pads) {
                    *to = number(node, "pads", from, 0)?;
                }
            }
        }
        "VALID" => {}
        same @ ("SAME_UPPER" | "SAME_LOWER") => {
            let extent = window.extent();
            for axis in 0..2 {
                let (in_size, stride) = (size[axis] as u64, u64::from(stride[axis]));
                let covered = (in_size.div_ceil(stride) - 1) * stride + u64::from(extent[axis]);
                let total = u32::try_from(covered.saturating_sub(in_size)).map_err(|_| node.wrong("the window is out of range"))?;
                let less = total / 2;
                let (before, after) = if same == "SAME_UPPER" { (less, total - less) } else { (total - less, less) };
                (window.pads[axis], window.pads[axis + 2]) = (before, after);
            }
        }
        other => return Err(node.wrong(format!("auto_pad `{other}` is unknown"))),
    }
    Ok(window)
}

/// The values of an attribute for height and width; a single one is that of a signal's length.
fn pair(node: &Node, name: &str, least: i64) -> Result<Option<[u32; 2]>, ConvertError> {
    let Some(values) = node.ints(name)? else { return Ok(None) };
    match *values {
        [a] => Ok(Some([1, number(node, name, a, least)?])),
        [a, b] => Ok(Some([number(node, name, a, least)?, number(node, name, b, least)?])),
        _ => Err(node.unsupported(format!("{name} has {} values", values.len()), "convolutions and pools over one or two axes are supported")),
    }
}

fn number(node: &Node, name: &str, value: i64, least: i64) -> Result<u32, ConvertError> {
    if !(least..=LIMIT).contains(&value) {
        return Err(node.wrong(format!("{value} in attribute {name} is out of range")));
    }
    u32::try_from(value).map_err(|_| node.wrong(format!("{value} in attribute {name} is out of range")))
}
