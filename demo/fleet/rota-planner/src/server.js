import { createServer } from "node:http";
import * as service from "./index.js";

const port = Number(process.env.PORT ?? 7450);

createServer((request, response) => {
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ service: "rota-planner", exports: Object.keys(service) }));
}).listen(port);
