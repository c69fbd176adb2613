// Reads server-sent events as an EventSource does, cuts the connection on purpose, and comes back with Last-Event-ID.
//
//     node events_reader.mjs URL TOKEN CUTS EVENTS_BETWEEN_CUTS
//
// Prints one JSON line per event ({id, event, data}) until the server says with 204 that there is nothing more, then
// {"connections": n}.
import http from "node:http";

const [url, token, cuts, between] = process.argv.slice(2);
let lastId = "";
let connections = 0;
let cutsLeft = Number(cuts);

function onFrame(frame, count) {
    const fields = {};
    for (const line of frame.split("\n")) {
        const at = line.indexOf(":");
        if (at > 0)
            fields[line.slice(0, at)] = line.slice(at + 1).replace(/^ /, "");
    }
    if (fields.data === undefined)
        return count;
    if (fields.id !== undefined)
        lastId = fields.id;
    console.log(JSON.stringify({id: fields.id, event: fields.event, data: JSON.parse(fields.data)}));
    return count + 1;
}

function connect() {
    const headers = {Authorization: "Bearer " + token, Accept: "text/event-stream"};
    if (lastId !== "")
        headers["Last-Event-ID"] = lastId;
    connections++;
    const request = http.get(url, {headers, agent: false}, (answer) => {
        let text = "";
        let count = 0;
        if (answer.statusCode === 204) {
            console.log(JSON.stringify({connections}));
            return;
        }
        if (answer.statusCode !== 200) {
            console.error("status " + answer.statusCode);
            process.exit(1);
        }
        answer.setEncoding("utf8");
        answer.on("data", (piece) => {
            text += piece;
            for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
                count = onFrame(text.slice(0, end), count);
                text = text.slice(end + 2);
                if (cutsLeft > 0 && count >= Number(between)) {
                    cutsLeft--;
                    request.destroy();
                    connect();
                    return;
                }
            }
        });
        answer.on("end", connect);
        answer.on("error", () => {});
    });
    request.on("error", () => {});
}

connect();
