// Numbers as a rider reads them.

export function distance(metres) {
  if (metres < 995) return `${Math.round(metres / 10) * 10} m`;
  return `${(metres / 1000).toFixed(metres < 9950 ? 1 : 0)} km`;
}

export function age(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  return `${Math.floor(s / 60)} min ${String(Math.floor(s % 60)).padStart(2, "0")} s`;
}

export function speed(mps) {
  return mps === null ? "not sent" : `${Math.round(mps * 3.6)} km/h`;
}

export function heading(degrees) {
  if (degrees === null) return "not sent";
  const winds = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"];
  return `${winds[Math.round(degrees / 45) % 8]} ${Math.round(degrees) % 360}°`;
}

export function delay(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : age(ms);
}
