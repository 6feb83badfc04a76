// A canvas over the whole map that is cleared and painted anew each frame, and moves along while Leaflet zooms.

/** Leaflet layer. Extend it with `pane` (name), `level` (z-index) and `paint(context, view, now)`, where `view` is
 *  {scale, min, size, ratio, zoom}: pixel = world * scale - min, with the world of fleet.js. */
export const Overlay = L.Layer.extend({
  onAdd(map) {
    const pane = map.getPane(this.pane) ?? map.createPane(this.pane);
    pane.style.zIndex = this.level;
    pane.style.pointerEvents = "none";
    this._canvas = L.DomUtil.create("canvas", "leaflet-zoom-animated", pane);
    this._context = this._canvas.getContext("2d");
    this._place();
  },

  onRemove() {
    this._canvas.remove();
  },

  getEvents() {
    return {
      move: this._place,
      viewreset: this._place,
      resize: this._place,
      zoomanim: this._animateZoom,
      zoomend: this._place,
    };
  },

  _place() {
    if (this._map._animatingZoom) return;
    const size = this._map.getSize();
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    if (this._canvas.width !== Math.round(size.x * ratio) || this._canvas.height !== Math.round(size.y * ratio)) {
      this._canvas.width = Math.round(size.x * ratio);
      this._canvas.height = Math.round(size.y * ratio);
      this._canvas.style.width = `${size.x}px`;
      this._canvas.style.height = `${size.y}px`;
    }
    this._ratio = ratio;
    L.DomUtil.setPosition(this._canvas, this._map.containerPointToLayerPoint([0, 0]));
    this.frame(performance.now());
  },

  // While Leaflet animates a zoom the finished picture is scaled along, as Leaflet does with its own canvases. Whether
  // it does is Leaflet's to know: a zoom that changes nothing ends before this is told that it began.
  _animateZoom(event) {
    if (!this._map._animatingZoom) return;
    const scale = this._map.getZoomScale(event.zoom);
    const corner = this._map._latLngBoundsToNewLayerBounds(this._map.getBounds(), event.zoom, event.center).min;
    L.DomUtil.setTransform(this._canvas, corner, scale);
  },

  frame(now) {
    if (!this._map || this._map._animatingZoom) return;
    const zoom = this._map.getZoom();
    const size = this._map.getSize();
    const ratio = this._ratio;
    const context = this._context;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, size.x, size.y);
    this.paint(context, { scale: 256 * 2 ** zoom, min: this._map.getPixelBounds().min, size, ratio, zoom }, now);
  },
});
