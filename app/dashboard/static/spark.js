// The small line of a DID. Rule: pure; points to a path in a box, the scale begins at 0, gaps stay gaps.

export const WIDTH = 120;
export const HEIGHT = 26;

export function line(points, width = WIDTH, height = HEIGHT, slots = points.length, most = Math.max(1, ...points)) {
  const step = width / Math.max(1, slots - 1);
  const offset = width - step * (points.length - 1);
  let path = "", pen = false;
  points.forEach((value, i) => {
    if (value == null || value < 0) {
      pen = false;
      return;
    }
    path += `${pen ? "L" : "M"}${(offset + i * step).toFixed(1)} ${(height - 2 - (value / most) * (height - 5)).toFixed(1)}`;
    pen = true;
  });
  return path;
}

export const known = (points) => points.filter((value) => value != null && value >= 0);
