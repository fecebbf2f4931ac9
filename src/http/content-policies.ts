/** What browsers let a page of the edge do: run, load and call what is the edge's own, and nothing else. */
export const PAGE_POLICY = {
  defaultSrc: ["'none'"],
  scriptSrc: ["'self'"],
  styleSrc: ["'self'"],
  imgSrc: ["'self'", "data:", "blob:"],
  mediaSrc: ["'self'", "blob:"],
  connectSrc: ["'self'"],
  formAction: ["'self'"],
  baseUri: ["'none'"],
  frameAncestors: ["'none'"],
  // No text becomes markup or script, whatever a mistake in a page does with it.
  requireTrustedTypesFor: ["'script'"],
  trustedTypes: ["'none'"],
};

/** The same for any other answer, if a browser shows it as a document. */
export const API_POLICY = {
  defaultSrc: ["'none'"],
  formAction: ["'none'"],
  baseUri: ["'none'"],
  frameAncestors: ["'none'"],
};

/** For what users uploaded: shown as a document, it would have an origin of its own, and could run nothing. */
export const FILE_POLICY = "sandbox; default-src 'none'; frame-ancestors 'none'";

/** Devices and abilities: the form of a space records the microphone; nothing in a page can use the others. */
export const PERMISSIONS = {
  camera: [],
  microphone: ["self"],
  geolocation: [],
  payment: [],
  usb: [],
  serial: [],
  hid: [],
  bluetooth: [],
  midi: [],
  displayCapture: [],
  browsingTopics: [],
};
