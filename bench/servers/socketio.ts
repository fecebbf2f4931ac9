/** Runs Socket.IO on Node with one room: `socketio.ts <port>`. */
import { createServer } from "node:http";
import process from "node:process";
import { Server } from "socket.io";

const server = createServer();
const io = new Server(server, { transports: ["websocket"], serveClient: false });

io.on("connection", (socket) => {
  socket.on("join", (_data, done) => {
    socket.join("room");
    done();
  });
  socket.on("publish", (event) => io.to("room").emit("event", event));
});
server.listen(Number(process.argv[2]), "127.0.0.1");
