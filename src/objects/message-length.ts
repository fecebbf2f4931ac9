/** The length of a socket's message: characters, or bytes if it is binary. */
export function messageLength(message: string | ArrayBuffer): number {
  return typeof message === "string" ? message.length : message.byteLength;
}
