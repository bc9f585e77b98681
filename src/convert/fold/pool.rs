//! Pools, means and mirrored borders.

use super::{Conv, ConvertError, Folder, Operation, StepOp, Value, Window, padded};

/// Pixels of a pool that may become part of the convolution in front of it.
const LARGEST_AREA: u32 = 9;

impl<'a> Folder<'a> {
    pub(super) fn max_pool(&mut self, operation: &'a Operation, window: Window) -> Result<Value, ConvertError> {
        let (view, [h, w, c]) = self.picture(operation)?;
        let nonnegative = self.nonnegative(view.tensor);
        let neutral = view.value == f32::NEG_INFINITY || view.value == 0.0 && nonnegative;
        if view.pads != [0; 4] && !neutral {
            return Err(operation.node.unsupported("the Pad in front of it takes part in the maximum", "zeros are supported in front of a pool behind a ReLU"));
        }
        if view.tensor == 0 && self.input.scale.iter().any(|&s| s < 0.0) {
            return Err(operation.node.unsupported("a maximum of a picture with its sign turned", "use a positive std"));
        }
        let window = bordered(operation, window, view.pads)?;
        let [oh, ow] = window.output(h, w).ok_or_else(|| operation.node.wrong("the window does not fit the input"))?;
        Ok(self.draft(operation, StepOp::MaxPool(window), view.tensor, [oh, ow, c], nonnegative))
    }

    pub(super) fn mirror(&mut self, operation: &'a Operation, pads: [u32; 4]) -> Result<Value, ConvertError> {
        let (view, [h, w, c]) = self.picture(operation)?;
        if view.tensor == 0 || view.pads != [0; 4] {
            let what = if view.tensor == 0 { "it mirrors the picture itself" } else { "it mirrors the border of another Pad" };
            return Err(operation.node.unsupported(what, "padding of mode reflect is supported between the layers of a network, by one Pad"));
        }
        let nonnegative = self.nonnegative(view.tensor);
        let shape = [h + pads[0] + pads[2], w + pads[1] + pads[3], c];
        Ok(self.draft(operation, StepOp::Mirror(pads), view.tensor, shape, nonnegative))
    }

    pub(super) fn average_pool(&mut self, operation: &'a Operation, window: Window, include_pad: bool) -> Result<Value, ConvertError> {
        if let Some(value) = self.average_in_conv(operation, window)? {
            return Ok(value);
        }
        let (view, [h, w, c]) = self.picture(operation)?;
        let merged = view.pads != [0; 4];
        if merged && (view.value != 0.0 || !include_pad && !window.unpadded()) {
            return Err(operation.node.unsupported("it counts one border and leaves out the other", "give the pool the whole border, with count_include_pad"));
        }
        let window = bordered(operation, window, view.pads)?;
        let [oh, ow] = window.output(h, w).ok_or_else(|| operation.node.wrong("the window does not fit the input"))?;
        let op = StepOp::AveragePool { window, include_pad: merged || include_pad };
        let nonnegative = self.nonnegative(view.tensor);
        Ok(self.draft(operation, op, view.tensor, [oh, ow, c], nonnegative))
    }

    /// A 1x1 convolution and a mean over k x k with stride k are one k x k convolution.
    fn average_in_conv(&mut self, operation: &'a Operation, window: Window) -> Result<Option<Value>, ConvertError> {
        let value = self.read(operation, 0)?;
        // Larger windows would make the weights many times as many.
        if window.kernel != window.stride || window.dilation != [1, 1] || !window.unpadded() || window.kernel[0] * window.kernel[1] > LARGEST_AREA {
            return Ok(None);
        }
        let shape = self.shape(&value);
        if self.channels_first(operation, &operation.reads[0], value.order, shape).is_err() {
            return Ok(None);
        }
        let Some((_, draft)) = self.own_conv(operation, 0) else { return Ok(None) };
        let [h, w, _] = draft.shape;
        let [oh, ow] = window.output(h, w).ok_or_else(|| operation.node.wrong("the window does not fit the input"))?;
        let StepOp::Conv(conv) = &mut draft.op else { return Ok(None) };
        if conv.window != Window::point([1, 1]) {
            return Ok(None);
        }
        let area = window.kernel.map(|k| k as usize).iter().product::<usize>();
        let depth = conv.weights.len() / conv.bias.len();
        #[expect(clippy::cast_precision_loss, reason = "a window has at most 2^32 pixels")]
        let share = 1.0 / area as f64;
        let spread = |row: &[f64]| row.iter().map(|w| w * share).collect::<Vec<_>>().repeat(area);
        let weights = conv.weights.chunks_exact(depth).flat_map(spread).collect();
        *conv = Conv { window, groups: conv.groups, weights, steps: Vec::new(), bias: core::mem::take(&mut conv.bias), second: conv.second.clone() };
        draft.shape[0] = oh;
        draft.shape[1] = ow;
        draft.value.clone_from(&operation.output);
        Ok(Some(value))
    }

    pub(super) fn mean(&mut self, operation: &'a Operation, axes: &[usize]) -> Result<Value, ConvertError> {
        let value = self.read(operation, 0)?;
        let dims = self.dims(operation, &operation.reads[0])?;
        let view = self.view(&value);
        if view.pads != [0; 4] || view.stride != [1, 1] || view.channels != [0, 0] || !self.are_pixels(&value, dims, axes) {
            return Err(operation.node.unsupported(format!("a mean over the axes {axes:?}"), "a mean over height and width of a tensor is supported"));
        }
        let [h, w, c] = self.tensors[view.tensor].shape;
        let op = StepOp::AveragePool { window: Window { kernel: [h, w], ..Window::point([1, 1]) }, include_pad: false };
        let nonnegative = self.nonnegative(view.tensor);
        Ok(self.draft(operation, op, view.tensor, [1, 1, c], nonnegative))
    }
}

/// The window with a border in front of it; every window must see a pixel of the picture.
fn bordered(operation: &Operation, window: Window, pads: [u32; 4]) -> Result<Window, ConvertError> {
    let window = padded(window, pads);
    let extent = window.extent();
    if (0..4).any(|side| window.pads[side] >= extent[side % 2]) {
        return Err(operation.node.unsupported("a border as wide as the window", "a window must see a pixel of the picture"));
    }
    Ok(window)
}
