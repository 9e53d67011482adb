// Pages opened as files may start no Worker. The theme's search runs in one: here it runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      const url = new URL(address, location.href).href;
      const waiting = [];
      let ready = false;
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc =
        "<script>self.postMessage = data => parent.dispatchEvent(new MessageEvent('from-worker', {data}));" +
        "self.importScripts = () => undefined;<\/script>" +
        `<script src="${url}"><\/script>`;
      const hand = data => frame.contentWindow.dispatchEvent(new MessageEvent("message", {data}));
      frame.addEventListener("load", () => {
        ready = true;
        waiting.splice(0).forEach(hand);
      });
      addEventListener("from-worker", event => {
        const message = new MessageEvent("message", {data: event.data});
        if (this.onmessage) this.onmessage(message);
        this.dispatchEvent(message);
      });
      this.postMessage = data => (ready ? hand(data) : waiting.push(data));
      this.terminate = () => frame.remove();
      const add = () => document.body.append(frame);
      if (document.body) add();
      else addEventListener("DOMContentLoaded", add);
    }
  };
}
