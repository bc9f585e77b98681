//! Convolutions and dense layers.

use super::layout::Order;
use super::{Conv, ConvertError, Folder, Operation, Second, StepOp, Value, What, Window, padded};

impl<'a> Folder<'a> {
    pub(super) fn conv(&mut self, operation: &'a Operation, window: Window, weights: &str, bias: Option<&str>) -> Result<Value, ConvertError> {
        let (view, [h, w, c]) = self.picture(operation)?;
        let (data, dims) = self.constant(operation, weights)?;
        let [kh, kw, depth] = [window.kernel[0], window.kernel[1], c].map(|n| n as usize);
        let &[out, d, y, x] = dims else { return Err(operation.node.wrong(format!("weights of the shape {dims:?}"))) };
        if [d, y, x] != [depth, kh, kw] || out == 0 {
            return Err(operation.node.wrong(format!("weights of the shape {dims:?} on {c} channels")));
        }
        if view.pads != [0; 4] && view.value != 0.0 {
            return Err(operation.node.unsupported("the Pad in front of it is not of zeros", "a border of zeros is supported"));
        }
        let window = padded(window, view.pads);
        let bias = bias.map_or_else(|| Ok(vec![0.0; out]), |name| self.vector(operation, name, out))?;
        let mut turned = Vec::with_capacity(data.len());
        for filter in data.chunks_exact(depth * kh * kw) {
            for pixel in 0..kh * kw {
                turned.extend((0..depth).map(|i| filter[i * kh * kw + pixel]));
            }
        }
        let [oh, ow] = window.output(h, w).ok_or_else(|| operation.node.wrong("the window does not fit the input"))?;
        let oc = u32::try_from(out).map_err(|_| operation.node.wrong("too many channels"))?;
        let conv = Conv { window, groups: 1, weights: turned, bias, second: Second::None };
        Ok(self.draft(operation, StepOp::Conv(conv), view.tensor, [oh, ow, oc], false))
    }

    pub(super) fn dense(
        &mut self,
        operation: &'a Operation,
        weights: &str,
        transposed: bool,
        alpha: f64,
        bias: Option<(&str, f64)>,
    ) -> Result<Value, ConvertError> {
        let value = self.read(operation, 0)?;
        if let What::View(v) = value.what
            && (v.pads != [0; 4] || v.stride != [1, 1] || v.channels != [0, 0])
        {
            return Err(operation.node.unsupported("it reads the result of a Slice or a Pad", "a dense layer reads a whole tensor"));
        }
        let row = self.dims(operation, &operation.reads[0])?;
        let input = self.view(&value).tensor;
        let [h, w, c] = self.tensors[input].shape;
        let [height, width, depth] = [h, w, c].map(|n| n as usize);
        let n = height * width * depth;
        let (data, dims) = self.constant(operation, weights)?;
        let &[first, second] = dims else { return Err(operation.node.wrong(format!("weights of the shape {dims:?}"))) };
        let (out, inner) = if transposed { (first, second) } else { (second, first) };
        if inner != n || !row.iter().filter(|&&d| d != 1).eq((n != 1).then_some(&n)) || out == 0 {
            return Err(operation
                .node
                .unsupported(format!("weights of the shape {dims:?} on an input {row:?}"), "a dense layer over a whole tensor is supported"));
        }
        let element = |o: usize, i: usize| alpha * if transposed { data[o * n + i] } else { data[i * out + o] };
        let mut turned = Vec::with_capacity(data.len());
        for o in 0..out {
            for pixel in 0..height * width {
                for channel in 0..depth {
                    let i = if value.order == Order::Chw { channel * height * width + pixel } else { pixel * depth + channel };
                    turned.push(element(o, i));
                }
            }
        }
        let bias = match bias {
            None => vec![0.0; out],
            Some((name, beta)) => {
                let (values, dims) = self.constant(operation, name)?;
                match values[..] {
                    [one] => vec![one * beta; out],
                    _ if values.len() == out => values.iter().map(|v| v * beta).collect(),
                    _ => return Err(operation.node.wrong(format!("a bias of the shape {dims:?} for {out} outputs"))),
                }
            }
        };
        let oc = u32::try_from(out).map_err(|_| operation.node.wrong("too many channels"))?;
        let window = Window { kernel: [h, w], ..Window::point([1, 1]) };
        let conv = Conv { window, groups: 1, weights: turned, bias, second: Second::None };
        Ok(self.draft(operation, StepOp::Conv(conv), input, [1, 1, oc], false))
    }
}
